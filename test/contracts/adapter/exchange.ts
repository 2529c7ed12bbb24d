import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect } from 'vitest';
import { type Exchange, type Guard, sequence } from '../../../src/index.js';
import { get, OK } from './routes.js';
import type { Promised } from './stage.js';

/** What guards and handlers see of an exchange. */
export function exchangeOfRequest(promise: Promised): void {
  describe('an exchange', () => {
    promise('is shared by all guard calls of a request, and runs its hooks once', async (stage) => {
      const seen: [place: string, exchange: Exchange][] = [];
      const hooks: string[] = [];
      const place = (name: string): Guard => {
        return (exchange) => {
          seen.push([name, exchange]);
          exchange.onEnd(() => hooks.push(name));
          return undefined;
        };
      };
      const later = (name: string): Guard => sequence(() => nextTurn(undefined), place(name));
      await stage.serve([], {
        guards: [stage.watch, [place('app')]],
        mount: {
          path: '/inner',
          guards: [[place('router')]],
          routes: [{ ...get(OK, [later('first')], [place('second'), place('third')]), path: '/leaf' }],
        },
      });
      expect((await stage.ask('GET /inner/leaf')).status).toBe(200);
      await stage.outcomes(1);
      const [entry] = stage.entries;
      expect(seen.map(([name]) => name)).toEqual(['app', 'router', 'first', 'second', 'third']);
      for (const [, exchange] of seen) expect(exchange).toBe(entry?.exchange);
      expect(stage.entered).toEqual([entry?.exchange]);
      expect(stage.entered[0]).toBe(entry?.exchange);
      expect(hooks).toEqual(['third', 'second', 'first', 'router', 'app']);
    });

    promise('belongs to one request only', async (stage) => {
      await stage.serve([get(OK)]);
      const client = await stage.connect();
      for (let i = 0; i < 2; i++) {
        client.send('GET /');
        await client.answer();
      }
      await stage.outcomes(2);
      expect(stage.entered[0]).not.toBe(stage.entered[1]);
    });

    promise('shows method, whole target and address, also in a mounted router', async (stage) => {
      const seen: unknown[] = [];
      const look: Guard = ({ request }) => {
        seen.push([request.method, request.url, request.remoteAddress, request.encrypted]);
        return undefined;
      };
      await stage.serve([], {
        mount: {
          path: '/inner',
          guards: [[look]],
          routes: [{ method: 'POST', path: '/leaf', guards: [[() => nextTurn(undefined), look]], handler: OK }],
        },
      });
      const target = '/inner/leaf?a=1&a=%20%2F..';
      expect((await stage.ask(`POST ${target}`, 'Content-Length: 0')).status).toBe(200);
      await stage.outcomes(1);
      const whole = ['POST', target, '127.0.0.1', false];
      expect(seen).toEqual([whole, whole]);
      expect(stage.entered[0]?.request.url).toBe(target);
    });

    promise.onNode('shows every field line of a header in order, and no line of another header', async (stage) => {
      let lines: readonly (readonly string[])[] = [];
      const look: Guard = ({ request }) => {
        lines = ['authorization', 'x-forwarded-for', 'cookie', 'x-forwarded', '__proto__', 'host'].map((name) =>
          request.fieldLines(name),
        );
        return undefined;
      };
      await stage.serve([get(OK, [look])]);
      await stage.ask(
        'GET /',
        'Authorization: Bearer a',
        'X-Forwarded-For: 6.6.6.6, 7.7.7.7',
        'AUTHORIZATION: Bearer b',
        'x-forwarded-for:1.2.3.4',
        'Cookie: a=1',
        'X-Forwarded-For:',
        'Cookie: b=2',
      );
      await stage.outcomes(1);
      expect(lines).toEqual([
        ['Bearer a', 'Bearer b'],
        ['6.6.6.6, 7.7.7.7', '1.2.3.4', ''],
        ['a=1', 'b=2'],
        [],
        [],
        ['gatewarden.test'],
      ]);
    });
  });
}
