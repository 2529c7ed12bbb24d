import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type UploadOptions, upload } from '../../src/upload/index.js';
import type { Client } from '../raw-client.js';
import { MULTIPART, multipart } from '../upload/multipart.js';
import { mutated } from '../upload/mutations.js';
import { bodiesToMutate, caseBody, optionsForMutated } from '../upload/upload-cases.js';
import { chunk, connect, expectEnded, LAST_CHUNK, serveUploads, uploadHead, write } from '../upload/upload-service.js';
import type { Serve } from './adapter/index.js';

const LARGE = 50 * 1024 * 1024;
const PIECE = 1024 * 1024;
/** How many clients send mutated bodies at the same time. */
const CLIENTS = 8;
const RUNS = Math.ceil(Number(process.env.PROPERTY_RUNS ?? 4_000) / 4);

/** Large, concurrent and mutated uploads, over real sockets through an adapter. */
export function uploadLoad(name: string, serve: Serve): void {
  describe(`large, concurrent and mutated uploads, through ${name}`, () => {
    let directory: string;
    let png: Buffer;
    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), 'gatewarden-upload-'));
      png = await caseBody('a PNG');
      png = png.subarray(png.indexOf('\x89PNG', 'latin1'), png.lastIndexOf('\r\n--'));
    });
    afterEach(() => rm(directory, { recursive: true }));

    const start = (options: Partial<UploadOptions> = {}) => {
      const sizes: number[] = [];
      const guard = upload({
        files: { types: ['image/png', 'image/jpeg'], maxBytes: LARGE },
        spool: { directory, memoryBytes: 1000 },
        ...options,
      });
      return serveUploads(serve, guard, async ({ upload }) => {
        sizes.push(upload?.files[0]?.bytes ?? 0);
      }).then((service) => ({ ...service, sizes }));
    };
    const expectEmptyDirectory = () => expect.poll(() => readdir(directory)).toEqual([]);

    /** A body with one file of `size` bytes, in chunks. */
    function bodyOf(size: number): Iterable<Buffer> {
      const [head, end] = [multipart([{ name: 'file', filename: 'a.png', body: '' }], ''), multipart([])];
      const filling = Buffer.alloc(PIECE, 0x5a);
      return (function* () {
        yield head.subarray(0, -2);
        yield png;
        for (let left = size - png.length; left > 0; left -= PIECE) yield filling.subarray(0, left);
        yield Buffer.concat([Buffer.from('\r\n'), end]);
      })();
    }

    it.each([
      ['accepts a file of exactly 50 MiB', LARGE, 200],
      ['refuses a file of one byte more', LARGE + 1, 413],
    ])('%s, with a length and without', async (_promise, size, status) => {
      const service = await start();
      for (const chunked of [false, true]) {
        const client = await connect(service.port);
        const length = [...bodyOf(size)].reduce((sum, piece) => sum + piece.length, 0);
        const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${length}`;
        client.socket.write(uploadHead(MULTIPART, framing));
        const answered = client.answer();
        answered.catch(() => undefined);
        for (const piece of bodyOf(size)) await write(client, chunked ? chunk(piece) : piece);
        if (chunked) await write(client, LAST_CHUNK);
        expect((await answered).status).toBe(status);
        client.socket.destroy();
      }
      expect(service.sizes).toEqual(status === 200 ? [LARGE, LARGE] : []);
      await expectEnded(service, 2);
      await expectEmptyDirectory();
    });

    it('leaves no file and runs no handler if a client disconnects after 5 MB', async () => {
      const service = await start();
      for (let i = 0; i < 3; i++) {
        const client = await connect(service.port);
        client.socket.write(uploadHead(MULTIPART, `Content-Length: ${LARGE}`));
        let sent = 0;
        for (const piece of bodyOf(LARGE)) {
          if (sent > 5_000_000) break;
          await write(client, piece);
          sent += piece.length;
        }
        await expect.poll(() => readdir(directory)).toHaveLength(1);
        client.socket.resetAndDestroy();
        await expectEmptyDirectory();
      }
      await expectEnded(service, 3);
      expect([service.sizes, service.outcomes.map(({ kind }) => kind)]).toEqual([
        [],
        ['aborted', 'aborted', 'aborted'],
      ]);
    });

    it('refuses a part with a header line of ten million bytes, and keeps no file', async () => {
      const service = await start();
      for (const line of ['x'.repeat(10_000_000), `Content-Disposition: form-data; name="${'x'.repeat(10_000_000)}"`]) {
        const client = await connect(service.port);
        const body = multipart([{ head: line, body: png }]);
        client.socket.write(uploadHead(MULTIPART, `Content-Length: ${body.length}`));
        const answered = client.answer();
        await write(client, body);
        const answer = await answered;
        expect([answer.status, answer.json()]).toMatchObject([400, { code: 'upload-malformed' }]);
        client.socket.destroy();
      }
      await expectEnded(service, 2);
      await expectEmptyDirectory();
    });

    it('refuses a client that waits for 100 Continue, and cuts it off if it sends anyway', async () => {
      const service = await start();
      const client = await connect(service.port);
      client.socket.write(uploadHead(MULTIPART, 'Content-Length: 100000000000', 'Expect: 100-continue'));
      let read = '';
      client.socket.on('data', (bytes: Buffer) => {
        read += bytes.toString('latin1');
      });
      await expect.poll(() => read).toContain('HTTP/1.1 413');
      const piece = Buffer.alloc(PIECE);
      let sent = 0;
      while (!client.socket.destroyed && sent < 200 * PIECE) {
        await write(client, piece);
        sent += PIECE;
      }
      expect(sent).toBeLessThan(128 * PIECE);
      await expectEnded(service, 1);
    });

    it('reports no fault if clients disconnect while their image is checked', async () => {
      const filler = Buffer.alloc(70_012);
      filler.writeUInt32BE(70_000, 0);
      filler.write('teXt', 4, 'latin1');
      const chunks = Array.from({ length: 100 }, () => filler);
      const image = Buffer.concat([png.subarray(0, 33), ...chunks, png.subarray(33)]);
      const body = multipart([{ name: 'file', filename: 'a.png', body: image }]);
      const service = await start();
      for (let i = 0; i < 20; i++) {
        const client = await connect(service.port);
        client.socket.write(uploadHead(MULTIPART, `Content-Length: ${body.length}`));
        await write(client, body);
        await new Promise((turn) => setTimeout(turn, i));
        client.socket.resetAndDestroy();
      }
      await expectEnded(service, 20);
      await expectEmptyDirectory();
    });

    it('answers each of fifty slow clients, and keeps no file of those that disconnect', async () => {
      const service = await start();
      const body = Buffer.concat([...bodyOf(40_000)]);
      const clients: Client[] = [];
      for (let i = 0; i < 50; i++) {
        const client = await connect(service.port);
        client.socket.write(uploadHead(MULTIPART, `Content-Length: ${body.length}`));
        clients.push(client);
      }
      const steps = 20;
      const step = Math.ceil(body.length / steps);
      for (let n = 0; n < steps; n++) {
        for (const client of clients) await write(client, body.subarray(n * step, (n + 1) * step));
        if (n === 10) {
          await expect.poll(async () => (await readdir(directory)).length).toBe(50);
          for (const client of clients.splice(0, 25)) client.socket.destroy();
          await expect.poll(async () => (await readdir(directory)).length).toBe(25);
        }
        await new Promise((turn) => setTimeout(turn, 5));
      }
      for (const client of clients) expect((await client.answer()).status).toBe(200);
      expect(service.sizes).toEqual(Array.from({ length: 25 }, () => 40_000));
      await expectEnded(service, 50);
      await expectEmptyDirectory();
    });

    it(`answers each of ${RUNS} mutated bodies, without a fault, a hang or a leftover file`, async () => {
      const service = await start(optionsForMutated(directory));
      const bodies = await bodiesToMutate();
      const statuses = new Set<number>();
      let count = 0;
      const clients: (Client | undefined)[] = [];
      async function send(slot: number, body: Buffer, chunked: boolean): Promise<void> {
        const client = clients[slot] ?? (await connect(service.port));
        clients[slot] = client;
        const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`;
        const last = chunked ? [...(body.length > 0 ? [chunk(body)] : []), Buffer.from(LAST_CHUNK)] : [body];
        // In one write: a second one would wait for the acknowledgement of the first.
        client.socket.write(Buffer.concat([Buffer.from(uploadHead(MULTIPART, framing)), ...last]));
        count++;
        const answer = await client.answer();
        statuses.add(answer.status);
        expect([200, 400, 413, 415, 422]).toContain(answer.status);
        // The connection is reused: bytes left over from one body would corrupt the next request.
        if (answer.field('connection') === 'close' || count % 50 === 0) {
          client.socket.destroy();
          clients[slot] = undefined;
        }
      }
      const request = fc.tuple(mutated(bodies), fc.boolean());
      await fc.assert(
        fc.asyncProperty(fc.array(request, { minLength: CLIENTS, maxLength: CLIENTS }), async (requests) => {
          await Promise.all(requests.map(([body, chunked], slot) => send(slot, body, chunked)));
        }),
        { numRuns: Math.ceil(RUNS / CLIENTS) },
      );
      expect([...statuses].sort()).toEqual([200, 400, 413, 415, 422]);
      await expectEnded(service, count);
      await expectEmptyDirectory();
    }, 600_000);
  });
}
