import { describe, expect } from 'vitest';
import type { Guard } from '../../../src/index.js';
import { get, OK, refusing } from './routes.js';
import type { Promised } from './stage.js';

/** The pattern of the route, for who counts by routes. */
export function routePattern(promise: Promised): void {
  describe('the pattern of the route', () => {
    /** Reads it first of all, and again at the end. */
    function watch(): { readonly look: Guard; readonly seen: (string | undefined)[] } {
      const seen: (string | undefined)[] = [];
      const look: Guard = (exchange) => {
        void exchange.request.routePattern;
        exchange.onEnd(() => seen.push(exchange.request.routePattern));
        return undefined;
      };
      return { look, seen };
    }

    promise(
      'is that of the route which answers, refuses or fails, and contains nothing that the client sent',
      async (stage) => {
        const { look, seen } = watch();
        const failing = { does: 'throw', error: new Error('a fault of the handler') } as const;
        await stage.serve(
          [
            { ...get(OK, [() => undefined]), path: '/things/:id' },
            { ...get(OK, [refusing]), path: '/closed/:id' },
            { ...get(failing, [() => undefined]), path: '/broken/:id' },
            get(OK),
          ],
          {
            guards: [stage.watch, [look]],
            mount: {
              path: '/of/:tenant',
              guards: [[() => undefined]],
              routes: [
                { ...get(OK), path: '/jobs/:id' },
                { ...get(failing), path: '/broken/:id' },
              ],
            },
          },
        );
        const paths = [
          '/things/42?secret=1',
          '/closed/alice',
          '/broken/1',
          '/',
          '/of/acme/jobs/7',
          '/of/b%20c/broken/7',
        ];
        for (const [i, path] of paths.entries()) {
          await stage.ask(`GET ${path}`);
          await stage.outcomes(i + 1);
        }
        expect(seen).toEqual([
          '/things/:id',
          '/closed/:id',
          '/broken/:id',
          '/',
          '/of/:tenant/jobs/:id',
          '/of/:tenant/broken/:id',
        ]);
      },
    );

    promise('is undefined without a route', async (stage) => {
      const { look, seen } = watch();
      await stage.serve([{ ...get(OK), path: '/things/:id' }], { guards: [stage.watch, [look]] });
      await stage.ask('GET /wp-login.php');
      await stage.outcomes(1);
      expect(seen).toEqual([undefined]);
    });
  });
}
