import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type UploadOptions, upload } from '../../src/upload/index.js';
import type { Client } from '../raw-client.js';
import { FILE_BYTES, MAX_PIXELS, multipart, uploadAttacks } from '../upload/attacks.js';
import { mutated } from '../upload/mutations.js';
import {
  chunk,
  connect,
  expectSettled,
  LAST_CHUNK,
  MULTIPART,
  serveUploads,
  uploadHead,
  write,
} from '../upload/service.js';
import type { Serve } from './adapter.js';

const LARGE = 50 * 1024 * 1024;
const PIECE = 1024 * 1024;
const RUNS = Math.ceil(Number(process.env.PROPERTY_RUNS ?? 20_000) / 4);

/** Uploads that are large, many or mutated, over real sockets through an adapter. */
export function uploadLoad(name: string, serve: Serve): void {
  describe(`large, many and mutated uploads, through ${name}`, () => {
    let folder: string;
    let png: Buffer;
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), 'gatewarden-upload-'));
      png = (await uploadAttacks()).find(({ what }) => what === 'a PNG')?.body ?? Buffer.alloc(0);
      png = png.subarray(png.indexOf('\x89PNG', 'latin1'), png.lastIndexOf('\r\n--'));
    });
    afterEach(() => rm(folder, { recursive: true }));

    const start = (options: Partial<UploadOptions> = {}) => {
      const sizes: number[] = [];
      const guard = upload({
        files: { types: ['image/png', 'image/jpeg'], maxBytes: LARGE },
        spool: { directory: folder, memoryBytes: 1000 },
        ...options,
      });
      return serveUploads(serve, guard, async ({ upload }) => {
        sizes.push(upload?.files[0]?.bytes ?? 0);
      }).then((service) => ({ ...service, sizes }));
    };
    const empty = () => expect.poll(() => readdir(folder)).toEqual([]);

    /** The parts of a body whose file has `size` bytes. */
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
      ['of exactly 50 MiB is taken', LARGE, 200],
      ['of one byte more is not', LARGE + 1, 413],
    ])('a file %s, with a length and without', async (_what, size, status) => {
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
      await expectSettled(service, 2);
      await empty();
    });

    it('a client that leaves after 5 MB leaves no file, and begins no work', async () => {
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
        await expect.poll(() => readdir(folder)).toHaveLength(1);
        client.socket.resetAndDestroy();
        await empty();
      }
      await expectSettled(service, 3);
      expect([service.sizes, service.outcomes.map(({ kind }) => kind)]).toEqual([
        [],
        ['aborted', 'aborted', 'aborted'],
      ]);
    });

    it('a part whose header line goes on for ten million bytes is refused, and nothing of it is kept', async () => {
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
      await expectSettled(service, 2);
      await empty();
    });

    it('a client that waits for leave to send, and is refused, sends no more than others', async () => {
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
      await expectSettled(service, 1);
    });

    it('clients that leave when all is sent are no fault, while their image is looked into', async () => {
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
      await expectSettled(service, 20);
      await empty();
    });

    it('fifty slow clients at once are each answered, and those who leave leave nothing', async () => {
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
          await expect.poll(async () => (await readdir(folder)).length).toBe(50);
          for (const client of clients.splice(0, 25)) client.socket.destroy();
          await expect.poll(async () => (await readdir(folder)).length).toBe(25);
        }
        await new Promise((turn) => setTimeout(turn, 5));
      }
      for (const client of clients) expect((await client.answer()).status).toBe(200);
      expect(service.sizes).toEqual(Array.from({ length: 25 }, () => 40_000));
      await expectSettled(service, 50);
      await empty();
    });

    it(`${RUNS} mutated bodies are each answered, without a fault, an endless wait or a file left behind`, async () => {
      const service = await start({
        files: {
          types: ['image/png', 'image/jpeg', 'image/gif', 'image/webp'],
          maxBytes: FILE_BYTES,
          maxPixels: MAX_PIXELS,
          animated: true,
        },
        fields: { maxCount: 3, maxBytes: 1000 },
        spool: { memoryBytes: 50, directory: folder },
      });
      const bodies = (await uploadAttacks()).map(({ body }) => body).filter(({ length }) => length < 20_000);
      const statuses = new Set<number>();
      let count = 0;
      let client: Client | undefined;
      await fc.assert(
        fc.asyncProperty(mutated(bodies), fc.boolean(), async (body, chunked) => {
          client ??= await connect(service.port);
          const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`;
          const last = chunked ? [...(body.length > 0 ? [chunk(body)] : []), Buffer.from(LAST_CHUNK)] : [body];
          // In one piece: two would wait for each other's acknowledgement.
          client.socket.write(Buffer.concat([Buffer.from(uploadHead(MULTIPART, framing)), ...last]));
          count++;
          const answer = await client.answer();
          statuses.add(answer.status);
          expect([200, 400, 413, 415, 422]).toContain(answer.status);
          // A connection is kept for the next bodies: what is left of one would be found in the next.
          if (answer.field('connection') === 'close' || count % 50 === 0) {
            client.socket.destroy();
            client = undefined;
          }
        }),
        { numRuns: RUNS },
      );
      expect([...statuses].sort()).toEqual([200, 400, 413, 415, 422]);
      await expectSettled(service, count);
      await empty();
    }, 600_000);
  });
}
