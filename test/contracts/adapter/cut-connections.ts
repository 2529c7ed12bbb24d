import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { describe, expect } from 'vitest';
import { requestText } from '../../raw-client.js';
import { ABORTED, BIG, big, completed, get, OK } from './routes.js';
import type { Handler } from './service.js';
import { gate, type Promised, turns } from './stage.js';

/** A connection that one side cuts off, ends or takes over. */
export function cutConnections(promise: Promised): void {
  promise('a response that the handler destroys halfway ends as aborted', async (stage) => {
    const breaking: Handler = {
      does: 'write',
      write: (_request, response) => {
        response.writeHead(200, { 'Content-Length': 1000 });
        response.write('half', () => response.destroy());
      },
    };
    await stage.serve([get(breaking)]);
    const client = await stage.connect();
    client.send('GET /');
    expect(await client.rest()).toMatch(/half$/);
    expect(await stage.outcomes(1)).toEqual([ABORTED]);
  });

  promise('a response that ends just after its socket was destroyed ends as aborted', async (stage) => {
    const write = (request: IncomingMessage, response: ServerResponse) => {
      response.writeHead(200, { 'Content-Length': 8 });
      response.write('half', () => {
        request.socket.destroy();
        response.end();
      });
    };
    await stage.serve([get({ does: 'write', write })]);
    const client = await stage.connect();
    client.send('GET /');
    await client.rest();
    expect(await stage.outcomes(1)).toEqual([ABORTED]);
  });

  promise('a response of 64 MB whose socket the server destroys halfway ends as aborted', async (stage) => {
    const sockets: Socket[] = [];
    const write = (request: IncomingMessage, response: ServerResponse) => {
      sockets.push(request.socket);
      response.end(Buffer.alloc(BIG));
    };
    await stage.serve([get({ does: 'write', write })]);
    const client = await stage.connect();
    client.send('GET /');
    await client.firstByte();
    sockets[0]?.destroy();
    expect(await stage.outcomes(1)).toEqual([ABORTED]);
  });

  describe('a client that has ended its side and still reads', () => {
    promise('receives the response, and the exchange completes', async (stage) => {
      await stage.serve([get(OK)]);
      const client = await stage.connect();
      client.socket.end(requestText('GET /'));
      expect((await client.answer()).json()).toEqual({ ok: true });
      expect(await stage.outcomes(1)).toEqual([completed(200)]);
    });

    promise.onNode('completes the exchange after all of 64 MB, not before', async (stage) => {
      await stage.serve([get(big())]);
      const client = await stage.connect();
      client.socket.end(requestText('GET /'));
      await client.firstByte();
      await turns();
      expect(stage.entries[0]?.outcomes).toEqual([]);
      client.socket.resume();
      expect((await client.answer()).body).toHaveLength(BIG);
      expect(await stage.outcomes(1)).toEqual([completed(200)]);
    });
  });

  describe('a socket that the handler takes over', () => {
    const bytes = 'HTTP/1.1 299 Mine\r\nContent-Length: 2\r\n\r\nhi';
    const takeOvers: readonly (readonly [name: string, write: (response: ServerResponse, socket: Socket) => void])[] = [
      [
        'with detachSocket',
        (response, socket) => {
          response.detachSocket(socket);
          socket.end(bytes);
        },
      ],
      ['without telling the framework', (_response, socket) => void socket.end(bytes)],
    ];
    for (const [kind, take] of takeOvers) {
      promise(`${kind} ends the exchange once, when it closes`, async (stage) => {
        const go = gate();
        const write = (request: IncomingMessage, response: ServerResponse) => {
          void go.promise.then(() => take(response, request.socket));
        };
        await stage.serve([get({ does: 'write', write })]);
        const client = await stage.connect();
        client.send('GET /');
        await stage.handlers(1);
        go.resolve();
        expect((await client.answer()).status).toBe(299);
        await turns();
        // The server has ended its side; the client has not closed yet.
        expect(stage.entries[0]?.outcomes).toEqual([]);
        client.socket.end();
        expect(await stage.outcomes(1)).toEqual([ABORTED]);
      });
    }
  });
}
