import { type IncomingMessage, type ServerResponse, request as sendRequest } from 'node:http';
import type { Socket } from 'node:net';
import { describe, expect } from 'vitest';
import type { Guard } from '../../../src/index.js';
import { requestText } from '../../raw-client.js';
import { ABORTED, BEHIND, big, completed, get, NEVER, OK, refusing, streaming } from './routes.js';
import type { Handler } from './service.js';
import { gate, type Promised, turns } from './stage.js';

/** How a client can leave before it has the whole response. */
const LEAVINGS: readonly (readonly [name: string, leave: (socket: Socket) => void])[] = [
  ['closes', (socket) => socket.destroy()],
  ['resets the connection', (socket) => socket.resetAndDestroy()],
];

/** A client that leaves aborts its exchange. */
export function leavingClients(promise: Promised): void {
  promise('runs no guard without an address for a client that resets its connection immediately', async (stage) => {
    const seen: (string | undefined)[] = [];
    const look: Guard = ({ request }) => {
      seen.push(request.remoteAddress);
      return undefined;
    };
    await stage.serve([get(OK, [look])]);
    for (let i = 0; i < 10; i++) {
      const client = await stage.connect();
      await new Promise((sent) => client.socket.write(requestText('GET /'), sent));
      client.socket.resetAndDestroy();
      await turns();
    }
    const client = await stage.connect();
    client.send('GET /');
    expect((await client.answer()).status).toBe(200);
    expect([...new Set(seen)]).toEqual(['127.0.0.1']);
  });

  describe.each(LEAVINGS)('a client that %s', (_name, leave) => {
    promise('before a response aborts the exchange, even if the status is 200 already', async (stage) => {
      let response: ServerResponse | undefined;
      const keep = (_request: IncomingMessage, given: ServerResponse) => {
        response = given;
      };
      await stage.serve([get({ does: 'write', write: keep })]);
      const client = await stage.connect();
      client.send('GET /');
      await stage.handlers(1);
      expect(stage.entries[0]?.signal.aborted).toBe(false);
      leave(client.socket);
      expect(await stage.outcomes(1)).toEqual([ABORTED]);
      expect(stage.entries[0]?.signal.aborted).toBe(true);
      expect(response?.statusCode).toBe(200);
    });

    promise('aborts the exchange once, even if the handler then responds', async (stage) => {
      const left = gate();
      const answered: Handler = { does: 'answer', status: 200, body: {}, after: () => left.promise };
      await stage.serve([get(answered, [onAbort(left.resolve)])]);
      const client = await stage.connect();
      client.send('GET /');
      await stage.handlers(1);
      leave(client.socket);
      await left.promise;
      expect(await stage.outcomes(1)).toEqual([ABORTED]);
    });

    promise('in the middle of a body of 64 MB aborts the exchange', async (stage) => {
      await stage.serve([get(big())]);
      const client = await stage.connect();
      client.send('GET /');
      await client.firstByte();
      leave(client.socket);
      expect(await stage.outcomes(1)).toEqual([ABORTED]);
    });

    promise('in the middle of a body of 64 MB, after it had ended its side, aborts the exchange', async (stage) => {
      await stage.serve([get(big())]);
      const client = await stage.connect();
      client.socket.end(requestText('GET /'));
      await client.firstByte();
      leave(client.socket);
      expect(await stage.outcomes(1)).toEqual([ABORTED]);
    });

    promise.onNode('in the middle of a body of 64 MB, with another request waiting, aborts both', async (stage) => {
      await stage.serve([get(big()), { ...get(OK), path: '/next' }]);
      const client = await stage.connect();
      client.socket.write(requestText('GET /') + requestText('GET /next'));
      await client.firstByte();
      await stage.handlers(2);
      leave(client.socket);
      expect(await stage.outcomes(2)).toEqual([ABORTED, ABORTED]);
    });

    promise('in the middle of a stream aborts the exchange', async (stage) => {
      const left = gate();
      await stage.serve([
        get(
          streaming(() => left.promise),
          [onAbort(left.resolve)],
        ),
      ]);
      const client = await stage.connect();
      client.send('GET /');
      await client.firstByte();
      leave(client.socket);
      await left.promise;
      expect(await stage.outcomes(1)).toEqual([ABORTED]);
    });

    promise('aborts every open exchange of the connection', async (stage) => {
      await stage.serve([get(NEVER)]);
      const client = await stage.connect();
      client.socket.write(requestText('GET /').repeat(5));
      await stage.handlers(5);
      leave(client.socket);
      expect(await stage.outcomes(5)).toEqual(Array(5).fill(ABORTED));
    });

    promise.onNode('aborts a response that still waits for an earlier one', async (stage) => {
      await stage.serve([get(NEVER), { ...get(OK), path: '/next' }]);
      const client = await stage.connect();
      client.socket.write(requestText('GET /') + requestText('GET /next'));
      await stage.handlers(2);
      await turns();
      leave(client.socket);
      expect(await stage.outcomes(2)).toEqual([ABORTED, ABORTED]);
    });

    for (const [place, behind] of BEHIND) {
      promise(`while a guard is waiting does not start ${place} after it`, async (stage) => {
        const [reached, release] = [gate(), gate()];
        const slow: Guard = async (exchange) => {
          reached.resolve();
          await release.promise;
          exchange.set('X-Late', 'yes');
          return undefined;
        };
        await stage.serve([get(OK, ...behind(slow))]);
        const client = await stage.connect();
        client.send('GET /');
        await reached.promise;
        leave(client.socket);
        expect(await stage.outcomes(1)).toEqual([ABORTED]);
        release.resolve();
        await turns();
        expect(stage.faults).toEqual([]);
        expect(stage.entered).toEqual([]);
      });
    }

    promise('while a guard is waiting aborts the exchange, even if the guard then refuses', async (stage) => {
      const [reached, release] = [gate(), gate()];
      const slow: Guard = async () => {
        reached.resolve();
        await release.promise;
        return refusing();
      };
      await stage.serve([get(OK, [slow])]);
      const client = await stage.connect();
      client.send('GET /');
      await reached.promise;
      leave(client.socket);
      expect(await stage.outcomes(1)).toEqual([ABORTED]);
      release.resolve();
      await turns();
      expect(stage.entered).toEqual([]);
    });
  });

  promise('starts no guard and no handler for a client that left before the first guard', async (stage) => {
    const proceeds: (() => void)[] = [];
    const [reached, gone] = [gate(), gate()];
    await stage.serve([get(OK)], {
      before: (proceed, _answer, socket) => {
        proceeds.push(proceed);
        if (proceeds.length > 1) return proceed();
        socket.once('close', gone.resolve);
        reached.resolve();
      },
    });
    const client = await stage.connect();
    client.send('GET /');
    await reached.promise;
    client.socket.destroy();
    await gone.promise;
    await turns();
    proceeds[0]?.();
    await turns();
    expect(stage.entered).toEqual([]);
    expect(stage.entries).toEqual([]);
    expect((await stage.ask('GET /')).status).toBe(200);
    expect(await stage.outcomes(1)).toEqual([completed(200)]);
    expect(stage.entered).toHaveLength(1);
  });

  promise('aborts the exchange if the client of node:http gives up', async (stage) => {
    await stage.serve([get(NEVER)]);
    const client = sendRequest({ port: stage.port, host: '127.0.0.1', agent: false });
    client.on('error', () => undefined);
    client.end();
    await stage.handlers(1);
    client.destroy();
    expect(await stage.outcomes(1)).toEqual([ABORTED]);
  });
}

/** Calls `left` when the client of the exchange has left. */
function onAbort(left: () => void): Guard {
  return (exchange) => {
    exchange.signal.addEventListener('abort', () => left());
    return undefined;
  };
}
