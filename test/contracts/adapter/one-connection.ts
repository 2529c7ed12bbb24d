import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect } from 'vitest';
import type { Exchange, Guard } from '../../../src/index.js';
import { requestText } from '../../raw-client.js';
import { ABORTED, completed, get, NEVER, OK, refusing, streaming, UNAUTHORIZED } from './routes.js';
import type { Handler, Route } from './service.js';
import { gate, type Promised, turns } from './stage.js';

/** Collects all garbage. Node offers this only behind a flag. */
const collectGarbage: () => void = (() => {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc');
})();

/** The number of listeners of `socket` for each event. */
function listeners(socket: Socket): Record<string, number> {
  return Object.fromEntries(socket.eventNames().map((name) => [String(name), socket.listenerCount(name)]));
}

/** Many requests on one connection. */
export function oneConnection(promise: Promised): void {
  describe('one connection', () => {
    promise('ends each of three exchanges separately', async (stage) => {
      const rest = gate();
      await stage.serve([
        get(OK),
        { ...get(OK, [refusing]), path: '/refused' },
        { ...get(streaming(() => rest.promise)), path: '/stream' },
      ]);
      const client = await stage.connect();
      client.send('GET /');
      expect((await client.answer()).status).toBe(200);
      expect(await stage.outcomes(1)).toEqual([completed(200)]);
      client.send('GET /refused');
      expect((await client.answer()).status).toBe(401);
      expect(await stage.outcomes(2)).toEqual([completed(200), UNAUTHORIZED]);
      client.send('GET /stream');
      await stage.handlers(2);
      await turns();
      expect(stage.entries[2]?.outcomes).toEqual([]);
      rest.resolve();
      expect((await client.answer()).body.toString()).toBe('one\ntwo\n');
      expect(await stage.outcomes(3)).toEqual([completed(200), UNAUTHORIZED, completed(200)]);
      expect(stage.entries).toHaveLength(3);
    });

    promise('completes what was answered and aborts only the rest', async (stage) => {
      await stage.serve([get(OK), { ...get(NEVER), path: '/never' }]);
      const client = await stage.connect();
      client.send('GET /');
      await client.answer();
      client.send('GET /never');
      await stage.handlers(2);
      client.socket.destroy();
      expect(await stage.outcomes(2)).toEqual([completed(200), ABORTED]);
    });

    promise('answers twelve requests of one packet in order, without a warning', async (stage) => {
      const warnings: Error[] = [];
      const warn = (warning: Error) => void warnings.push(warning);
      process.on('warning', warn);
      try {
        const gates = Array.from({ length: 12 }, () => gate());
        const routes = gates.map((one, i): Route => {
          return { ...get({ does: 'answer', status: 200, body: { i }, after: () => one.promise }), path: `/${i}` };
        });
        await stage.serve(routes);
        const client = await stage.connect();
        client.socket.write(routes.map(({ path }) => requestText(`GET ${path}`)).join(''));
        await stage.handlers(12);
        // All twelve are open. The last is answered first.
        for (const one of gates.toReversed()) {
          one.resolve();
          await nextTurn();
        }
        for (let i = 0; i < 12; i++) {
          const answer = await client.answer();
          expect(answer.json()).toEqual({ i });
          expect(answer.field('x-guarded')).toBe('yes');
        }
        expect(await stage.outcomes(12)).toEqual(Array(12).fill(completed(200)));
        await turns();
        expect(warnings).toEqual([]);
      } finally {
        process.off('warning', warn);
      }
    });

    promise('aborts each of the requests of one packet that has no answer when the client leaves', async (stage) => {
      const never = Array.from({ length: 5 }, (_, i): Route => ({ ...get(NEVER), path: `/never/${i}` }));
      await stage.serve([get(OK), ...never]);
      const client = await stage.connect();
      client.socket.write(['/', ...never.map(({ path }) => path)].map((path) => requestText(`GET ${path}`)).join(''));
      expect((await client.answer()).status).toBe(200);
      await stage.handlers(6);
      client.socket.destroy();
      expect(await stage.outcomes(6)).toEqual([completed(200), ...Array(5).fill(ABORTED)]);
    });

    promise('carries a thousand requests and leaves no listener behind', async (stage) => {
      const counts: Record<string, number>[] = [];
      const counting: Handler = {
        does: 'write',
        write: (request, response) => {
          counts.push(listeners(request.socket));
          response.end('counted');
        },
      };
      await stage.serve([get(counting)]);
      const client = await stage.connect();
      for (let i = 0; i < 1000; i++) {
        client.send('GET /');
        await client.answer();
      }
      expect(await stage.outcomes(1000)).toEqual(Array(1000).fill(completed(200)));
      expect(counts).toHaveLength(1000);
      expect(counts[999]).toEqual(counts[1]);
    });

    promise('keeps no ended exchange in memory while it stays open', async (stage) => {
      const seen: WeakRef<Exchange>[] = [];
      const note: Guard = (exchange) => {
        seen.push(new WeakRef(exchange));
        return undefined;
      };
      await stage.serve([get(OK, [note]), { ...get(OK, stage.watch), path: '/last' }], {
        guards: [],
        entered: () => undefined,
      });
      const client = await stage.connect();
      for (let i = 0; i < 100; i++) {
        client.send('GET /');
        await client.answer();
      }
      client.send('GET /last');
      await client.answer();
      await stage.outcomes(1);
      await turns();
      collectGarbage();
      // Node itself keeps the latest request of a connection for a while.
      expect(seen.filter((exchange) => exchange.deref() !== undefined).length).toBeLessThan(10);
    });
  });
}
