import { once } from 'node:events';
import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect } from 'vitest';
import type { Guard, Reply } from '../../../src/index.js';
import { ABORTED, completed, FAULT, get, NEVER, OK, throwing } from './routes.js';
import { gate, type Promised, turns } from './stage.js';

const TYPE: Reply['headers'] = [['Content-Type', 'model/gltf-binary']];
/** Never runs. */
const UNREACHED = throwing(new Error('the handler behind a reply ran'));

function replying(stream: () => Readable, headers: Reply['headers'] = TYPE): Guard {
  return () => ({ status: 200, headers, problem: undefined, stream });
}

/** Bytes without end, and how many were asked for. */
class Endless extends Readable {
  static readonly chunk = Buffer.alloc(64 * 1024, 'x');
  read_ = 0;

  override _read(): void {
    this.read_ += Endless.chunk.length;
    this.push(Endless.chunk);
  }
}

/** The body of a guard's reply, sent as it is read. */
export function streams(promise: Promised): void {
  describe('a reply with a stream', () => {
    promise('is sent whole, with its headers, and the connection can be used again', async (stage) => {
      const body = Buffer.alloc(1_000_000, 'abc');
      const guards = [replying(() => Readable.from([body.subarray(0, 10), body.subarray(10)])), UNREACHED];
      await stage.serve([get(OK, guards), { ...get(OK), path: '/next' }]);
      const client = await stage.connect();
      client.send('GET /');
      const answer = await client.answer();
      expect(answer.status).toBe(200);
      expect(answer.field('content-type')).toBe('model/gltf-binary');
      expect(answer.field('cache-control')).toBe('no-store');
      expect(answer.field('x-guarded')).toBe('yes');
      expect(answer.body.equals(body)).toBe(true);
      client.send('GET /next');
      expect((await client.answer()).json()).toEqual({ ok: true });
      expect(await stage.outcomes(2)).toEqual([completed(200), completed(200)]);
      expect(stage.faults).toEqual([]);
    });

    promise('keeps its Content-Length, and a status such as 206', async (stage) => {
      const reply: Guard = () => ({
        status: 206,
        headers: [...TYPE, ['Content-Length', '3'], ['Content-Range', 'bytes 0-2/9']],
        problem: undefined,
        stream: () => Readable.from([Buffer.from('abc')]),
      });
      await stage.serve([get(OK, [reply])]);
      const answer = await stage.ask('GET /');
      expect([answer.status, answer.field('content-length'), answer.body.toString()]).toEqual([206, '3', 'abc']);
      expect(answer.field('transfer-encoding')).toBeUndefined();
      expect(await stage.outcomes(1)).toEqual([completed(206)]);
    });

    promise('is not opened for HEAD, which gets the headers alone', async (stage) => {
      let opened = 0;
      const open = () => {
        opened++;
        return Readable.from(['body']);
      };
      await stage.serve([get(OK, [replying(open, [...TYPE, ['Content-Length', '4']])])]);
      const client = await stage.connect();
      client.send('HEAD /');
      const answer = await client.answer(true);
      expect([answer.status, answer.field('content-type')]).toEqual([200, 'model/gltf-binary']);
      expect(answer.field('content-length')).toBe('4');
      client.send('GET /');
      expect((await client.answer()).body.toString()).toBe('body');
      expect(opened).toBe(1);
      expect(await stage.outcomes(2)).toEqual([completed(200), completed(200)]);
    });

    promise('reaches the client piece by piece', async (stage) => {
      const source = new Readable({ read: () => undefined });
      const events: Reply['headers'] = [
        ['Content-Type', 'text/event-stream'],
        ['X-Accel-Buffering', 'no'],
      ];
      await stage.serve([get(OK, [replying(() => source, events)])]);
      const client = await stage.connect();
      client.send('GET /');
      for (const piece of ['one', 'two', 'three']) {
        source.push(`data: ${piece}\n\n`);
        let text = '';
        while (!text.includes(piece)) text += String((await once(client.socket, 'data'))[0]);
      }
      expect(stage.entries[0]?.outcomes).toEqual([]);
      source.push(null);
      expect(await stage.outcomes(1)).toEqual([completed(200)]);
    });

    promise('is read only as fast as the client reads, and is destroyed when the client leaves', async (stage) => {
      const source = new Endless();
      await stage.serve([get(OK, [replying(() => source)])]);
      const client = await stage.connect();
      client.send('GET /');
      await client.firstByte();
      let before = -1;
      // Until the buffers of the connection are full.
      for (let still = 0; still < 50; still = source.read_ === before ? still + 1 : 0) {
        before = source.read_;
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      expect(source.read_).toBeLessThan(32 * 1024 * 1024);
      expect(source.destroyed).toBe(false);
      client.socket.destroy();
      expect(await stage.outcomes(1)).toEqual([ABORTED]);
      await expect.poll(() => source.destroyed).toBe(true);
      expect(stage.faults).toEqual([]);
    });

    promise('that no client waits for any more is destroyed', async (stage) => {
      const source = new Readable({ read: () => undefined });
      await stage.serve([get(OK, [replying(() => source)])]);
      const client = await stage.connect();
      client.send('GET /');
      source.push('first');
      await client.firstByte();
      client.socket.resetAndDestroy();
      expect(await stage.outcomes(1)).toEqual([ABORTED]);
      await expect.poll(() => source.destroyed).toBe(true);
    });

    promise('is not opened if the client has left before', async (stage) => {
      const [reached, release] = [gate(), gate()];
      let opened = 0;
      const late: Guard = async (exchange) => {
        reached.resolve();
        await release.promise;
        return replying(() => {
          opened++;
          return Readable.from([]);
        })(exchange);
      };
      await stage.serve([get(NEVER, [late])]);
      const client = await stage.connect();
      client.send('GET /');
      await reached.promise;
      client.socket.destroy();
      expect(await stage.outcomes(1)).toEqual([ABORTED]);
      release.resolve();
      await turns();
      // An adapter that makes a response all the same must not leave a stream open.
      expect(opened).toBe(0);
    });

    promise('that breaks off breaks the connection off, and is reported', async (stage) => {
      const error = new Error('the disk is gone');
      const source = new Readable({ read: () => undefined });
      await stage.serve([get(OK, [replying(() => source, [...TYPE, ['Content-Length', '100']])])]);
      const client = await stage.connect();
      client.send('GET /');
      source.push('half');
      await client.firstByte();
      client.socket.resume();
      source.destroy(error);
      expect(await client.rest()).toMatch(/half$/);
      expect(await stage.outcomes(1)).toEqual([ABORTED]);
      expect(stage.faults).toEqual([error]);
    });

    promise('that cannot be opened is a fault, and answered with 500', async (stage) => {
      const error = new Error('no such file');
      const open = () => {
        throw error;
      };
      await stage.serve([get(OK, [replying(open, [...TYPE, ['Content-Length', '100'], ['ETag', '"a"']])])]);
      const answer = await stage.ask('GET /');
      expect(answer.status).toBe(500);
      expect(answer.json()).toMatchObject({ code: 'internal-error' });
      expect(answer.field('etag')).toBeUndefined();
      expect(stage.faults).toEqual([error]);
      expect(await stage.outcomes(1)).toEqual([FAULT]);
    });
  });

  describe('a guard reads the parameters of a route', () => {
    const seen: unknown[] = [];
    const look: Guard = ({ request }) => {
      seen.push(['id', 'name', '__proto__', 'constructor', ''].map((name) => request.param?.(name)));
      return undefined;
    };

    promise('decoded, and no inherited ones', async (stage) => {
      seen.length = 0;
      const route = { ...get(OK, [look], [() => nextTurn(undefined), look]), path: '/jobs/:id/files/:name' };
      await stage.serve([route], { guards: [stage.watch] });
      expect((await stage.ask('GET /jobs/a%2Fb/files/caf%C3%A9?id=c')).status).toBe(200);
      const own = ['a/b', 'café', undefined, undefined, undefined];
      expect(seen).toEqual([own, own]);
    });

    promise('in a mounted router, and none where the route has none', async (stage) => {
      seen.length = 0;
      await stage.serve([{ ...get(OK, [look]), path: '/plain' }], {
        mount: { path: '/inner', guards: [], routes: [{ ...get(OK, [look]), path: '/:id' }] },
      });
      expect((await stage.ask('GET /inner/42')).status).toBe(200);
      expect((await stage.ask('GET /plain')).status).toBe(200);
      expect(seen).toEqual([['42', undefined, undefined, undefined, undefined], Array(5).fill(undefined)]);
    });
  });
}
