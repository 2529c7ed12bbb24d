import { describe, expect } from 'vitest';
import type { Guard } from '../../../src/index.js';
import { BEHIND, completed, get, OK, refusing, throwing } from './routes.js';
import { gate, type Promised, turns } from './stage.js';

/** A guard that is still running when a timeout answers. */
export function timeouts(promise: Promised): void {
  describe('a guard that still runs when a timeout has answered', () => {
    const refusals: readonly (readonly [name: string, guard: Guard])[] = [
      ['passes', () => undefined],
      ['refuses', refusing],
      ['throws', throwing(new Error('late'))],
    ];
    const cases = refusals.flatMap(([kind, then]) => BEHIND.map((behind) => [kind, then, ...behind] as const));
    for (const [kind, then, place, behind] of cases) {
      promise(`and then ${kind} changes nothing, and ${place} after it does not start`, async (stage) => {
        const [reached, release] = [gate(), gate()];
        const answers: (() => void)[] = [];
        const slow: Guard = async (exchange) => {
          reached.resolve();
          await release.promise;
          exchange.set('X-Late', 'yes');
          return then(exchange);
        };
        await stage.serve([get(OK, ...behind(slow))], {
          before: (proceed, answer) => {
            answers.push(answer);
            proceed();
          },
        });
        const client = await stage.connect();
        client.send('GET /');
        await reached.promise;
        answers[0]?.();
        const answer = await client.answer();
        expect(answer.status).toBe(503);
        expect(answer.field('x-guarded')).toBe('yes');
        expect(await stage.outcomes(1)).toEqual([completed(503)]);
        release.resolve();
        await turns();
        expect(stage.entered).toEqual([]);
        expect(stage.faults).toHaveLength(kind === 'throws' ? 1 : 0);
        // The connection is unharmed.
        client.send('GET /elsewhere');
        expect((await client.answer()).status).toBe(404);
        await stage.outcomes(2);
      });
    }
  });
}
