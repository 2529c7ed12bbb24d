import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { UploadedFile } from '../../src/index.js';
import { type UploadOptions, upload } from '../../src/upload/index.js';
import { MULTIPART, multipart } from '../upload/multipart.js';
import { caseBody, FILE_BYTES, UPLOAD_OPTIONS, uploadCases } from '../upload/upload-cases.js';
import {
  chunk,
  connect,
  expectEnded,
  LAST_CHUNK,
  serveUploads,
  type UploadService,
  uploadHead,
  write,
} from '../upload/upload-service.js';
import type { Serve } from './adapter/index.js';

/** The table of uploads, and the lifetime of their files, over real sockets through an adapter. */
export function uploadContract(name: string, serve: Serve): void {
  describe(`uploads, through ${name}`, () => {
    let directory: string;
    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), 'gatewarden-upload-'));
    });
    afterEach(() => rm(directory, { recursive: true }));

    function start(
      memoryBytes: number,
      after: (files: readonly UploadedFile[]) => Promise<unknown> = async () => undefined,
      more: Partial<UploadOptions> = {},
    ): Promise<UploadService> {
      const guard = upload({ ...UPLOAD_OPTIONS, spool: { memoryBytes, directory }, ...more });
      return serveUploads(serve, guard, async (exchange) => after(exchange.upload?.files ?? []));
    }

    const expectEmptyDirectory = () => expect.poll(() => readdir(directory)).toEqual([]);

    it.each([
      ['in memory', 1_000_000],
      ['on disk', 10],
    ])('are answered as the table says, and leave no file: %s', async (_where, memoryBytes) => {
      const handled: (readonly [UploadedFile, Buffer])[] = [];
      const { port, faults, exchange } = await start(memoryBytes, async (files) => {
        for (const file of files) handled.push([file, await file.buffer()]);
      });
      for (const { what, body, contentType, status, code, members, file } of await uploadCases()) {
        handled.length = 0;
        const client = await connect(port);
        const type = contentType === undefined && what !== 'no Content-Type' ? MULTIPART : contentType;
        client.socket.write(Buffer.from(uploadHead(type, `Content-Length: ${body.length}`), 'latin1'));
        client.socket.write(body);
        const answer = await client.answer();
        const problem = status === 200 ? undefined : (answer.json() as Record<string, unknown>);
        expect({ what, status: answer.status, code: problem?.code }).toEqual({ what, status, code });
        if (members !== undefined) expect([what, problem]).toMatchObject([what, members]);
        if (file !== undefined) expect([what, handled[0]?.[0]]).toMatchObject([what, file]);
        expect([what, handled.length]).toEqual([what, status === 200 ? 1 : 0]);
        if (handled[0] !== undefined) {
          const [{ bytes, path }, content] = handled[0];
          expect(body.includes(content)).toBe(true);
          expect([bytes, path === undefined]).toEqual([content.length, memoryBytes > content.length]);
        }
        client.socket.destroy();
      }
      expect(faults).toEqual([]);
      expect(exchange()).toBeDefined();
      await expectEmptyDirectory();
    });

    it.each([
      ['image/gif', 'gif'],
      ['image/webp', 'webp'],
      ['image/tiff', 'tiff'],
    ] as const)('with several pages are accepted only with `animated`: %s', async (type, format) => {
      const frames = Buffer.alloc(20 * 30 * 3).map((_, i) => (i * 7) % 256);
      const image = (pageHeight: number) =>
        sharp(frames, { raw: { width: 20, height: 30, channels: 3, pageHeight } as never })
          .toFormat(format)
          .toBuffer();
      const [one, three] = [await image(30), await image(10)];
      const files = { types: [type], maxBytes: FILE_BYTES };
      for (const [animated, maxPixels, content, expected] of [
        [false, 600, one, { status: 200, found: { type, width: 20, height: 30, pages: 1 } }],
        [false, 600, three, { status: 415, problem: { found: `${type} of 3 pages` } }],
        [true, 600, three, { status: 200, found: { type, width: 20, height: 10, pages: 3 } }],
        [true, 599, three, { status: 413, problem: { part: 'pixels', limit: 599 } }],
      ] as const) {
        for (const decode of [{}, { decode: { sharp } }]) {
          const found: UploadedFile[] = [];
          const service = await start(10, async (of) => found.push(...of), {
            files: { ...files, animated, maxPixels },
            ...decode,
          });
          const client = await connect(service.port);
          const body = multipart([{ name: 'file', filename: 'a', body: content }]);
          client.socket.write(uploadHead(MULTIPART, `Content-Length: ${body.length}`));
          client.socket.write(body);
          const answer = await client.answer();
          expect({ status: answer.status, found: found[0], problem: answer.json() }).toMatchObject(expected);
          client.socket.destroy();
          await expectEnded(service, 1);
        }
      }
      await expectEmptyDirectory();
    });

    it.each([
      ['a JPEG, if only PNG is accepted', { files: { types: ['image/png'], maxBytes: FILE_BYTES } }, 0, '', 415, 415],
      ['a truncated image', { decode: { sharp } }, 300, '', 422, 422],
      ['an image with a ZIP appended', { decode: { sharp } }, 0, 'PK\x03\x04', 200, 200],
      ['an image with HTML appended', { decode: { sharp } }, 0, '<script>alert(1)</script>', 200, 200],
      ['an image with a PDF appended', { decode: { sharp } }, 0, '%PDF-1.7\n1 0 obj', 200, 200],
      ['an image that is re-encoded', { decode: { sharp, reencode: true } }, 0, '<script>', 200, 200],
    ] as const)('%s is answered the same in memory and on disk', async (_what, options, cut, tail, ofJpeg, ofPng) => {
      const noise = Buffer.alloc(120 * 90 * 3).map((_, i) => (i * i * 17) % 253);
      const image = sharp(noise, { raw: { width: 120, height: 90, channels: 3 } });
      const [jpeg, png] = [await image.clone().jpeg().toBuffer(), await image.clone().png().toBuffer()];
      for (const memoryBytes of [10, 1_000_000]) {
        const contents: Buffer[] = [];
        const service = await start(
          memoryBytes,
          async ([file]) => contents.push((await file?.buffer()) ?? Buffer.alloc(0)),
          options as Partial<UploadOptions>,
        );
        for (const [content, status] of [
          [jpeg, ofJpeg],
          [png, 'files' in options ? 200 : ofPng],
        ] as const) {
          const whole = Buffer.concat([content.subarray(0, content.length - cut), Buffer.from(tail, 'latin1')]);
          const body = multipart([{ name: 'file', filename: 'a', body: whole }]);
          const client = await connect(service.port);
          client.socket.write(uploadHead(MULTIPART, `Content-Length: ${body.length}`));
          client.socket.write(body);
          expect((await client.answer()).status).toBe(status);
          const accepted = contents.splice(0);
          expect(accepted.length).toBe(status === 200 ? 1 : 0);
          if ('decode' in options && 'reencode' in options.decode) expect(accepted[0]?.includes(tail)).toBe(false);
          else if (status === 200) expect(accepted[0]).toEqual(whole);
          client.socket.destroy();
        }
        await expectEnded(service, 2);
      }
      await expectEmptyDirectory();
    });

    it('leave no file if the handler fails', async () => {
      const { port, outcomes } = await start(10, async () => {
        expect(await readdir(directory)).toHaveLength(1);
        throw new Error('the handler failed');
      });
      const body = await caseBody('a PNG');
      const client = await connect(port);
      client.socket.write(uploadHead(MULTIPART, `Content-Length: ${body.length}`));
      client.socket.write(body);
      expect((await client.answer()).status).toBe(500);
      await expect.poll(() => outcomes).toEqual([{ kind: 'completed', status: 500 }]);
      await expectEmptyDirectory();
    });

    it('stream to a worker, which never sees a refused file as complete', async () => {
      const bodies: { size: number; whole: boolean }[] = [];
      const worker = createServer((request, response) => {
        const body = { size: 0, whole: false };
        bodies.push(body);
        request
          .on('data', (piece: Buffer) => {
            body.size += piece.length;
          })
          .on('end', () => {
            body.whole = request.complete;
            response.end(`${body.size}`);
          })
          .on('error', () => undefined);
      });
      await new Promise<void>((resolve) => worker.listen(0, '127.0.0.1', resolve));
      onTestFinished(() => {
        worker.close();
      });
      const { port: workerPort } = worker.address() as AddressInfo;
      const answers: unknown[] = [];
      const service = await start(
        10,
        async ([file]) => {
          answers.push(await file?.result);
        },
        {
          onFile: async ({ stream }, { signal }) => {
            const url = `http://127.0.0.1:${workerPort}`;
            return (await fetch(url, { method: 'POST', body: stream, duplex: 'half', signal })).text();
          },
        },
      );
      for (const [which, status, cut] of [
        ['a PNG of the largest size', 200, 0],
        ['a file one byte too large', 413, 0],
        ['a PNG of the largest size', 400, 20],
        ['a PNG of the largest size', 0, -1],
      ] as const) {
        const body = await caseBody(which);
        const client = await connect(service.port);
        client.socket.write(uploadHead(MULTIPART, 'Transfer-Encoding: chunked'));
        client.socket.write(chunk(body.subarray(0, 100_000)));
        const before = bodies.length;
        // The worker receives bytes before the client has sent the rest.
        await expect.poll(() => bodies[before]?.size).toBeGreaterThan(50_000);
        if (cut === -1) {
          client.socket.destroy();
        } else {
          client.socket.write(chunk(body.subarray(100_000, body.length - cut)));
          client.socket.write(LAST_CHUNK);
          expect((await client.answer()).status).toBe(status);
          client.socket.destroy();
        }
        await expect.poll(() => service.outcomes.length).toBe(bodies.length);
      }
      expect(bodies.map(({ whole }) => whole)).toEqual([true, false, false, false]);
      expect(answers).toEqual([`${FILE_BYTES}`]);
      await expectEnded(service, 4);
      await expectEmptyDirectory();
    });

    it('are accepted in small chunks or in one piece, and the connection serves the next request', async () => {
      const { port, faults } = await start(10);
      const client = await connect(port);
      const body = await caseBody('a PNG');
      client.socket.write(uploadHead(MULTIPART, 'Transfer-Encoding: chunked'));
      for (let at = 0; at < body.length; at += 7) {
        const piece = body.subarray(at, at + 7);
        client.socket.write(chunk(piece));
      }
      client.socket.write(LAST_CHUNK);
      expect((await client.answer()).status).toBe(200);
      client.socket.write(uploadHead(MULTIPART, `Content-Length: ${body.length}`));
      client.socket.write(body);
      expect((await client.answer()).status).toBe(200);
      expect(faults).toEqual([]);
      await expectEmptyDirectory();
    });

    it.each([
      ['accepts the largest size', 'a PNG of the largest size', 200],
      ['refuses one byte more', 'a file one byte too large', 413],
    ])('%s without a Content-Length', async (_promise, which, status) => {
      const { port } = await start(10);
      const body = await caseBody(which);
      const client = await connect(port);
      client.socket.write(uploadHead(MULTIPART, 'Transfer-Encoding: chunked'));
      client.socket.write(Buffer.concat([chunk(body), Buffer.from(LAST_CHUNK)]));
      expect((await client.answer()).status).toBe(status);
      await expectEmptyDirectory();
    });

    it('shorter than their Content-Length are not accepted', async () => {
      let worked = 0;
      const { port, outcomes } = await start(10, async () => {
        worked++;
      });
      const body = await caseBody('a PNG');
      const client = await connect(port);
      client.socket.write(uploadHead(MULTIPART, `Content-Length: ${body.length + 100}`));
      await new Promise((sent) => client.socket.write(body.subarray(0, -4), sent));
      client.socket.end();
      await expect.poll(() => outcomes.length).toBe(1);
      expect([worked, outcomes[0]?.kind]).not.toEqual([1, 'completed']);
      expect(worked).toBe(0);
      await expectEmptyDirectory();
    });

    it('keep every text field, whatever its name', async () => {
      const { port, exchange } = await start(1_000_000);
      const png = await caseBody('a PNG');
      const fields = multipart(
        [
          { name: 'a', body: '1' },
          { name: '__proto__', body: '2' },
          { name: 'a', body: 'three' },
        ],
        '',
      );
      const body = Buffer.concat([fields, png]);
      const client = await connect(port);
      client.socket.write(uploadHead(MULTIPART, `Content-Length: ${body.length}`));
      client.socket.write(body);
      expect((await client.answer()).status).toBe(200);
      expect([...(exchange()?.upload?.fields ?? [])]).toEqual([
        ['a', ['1', 'three']],
        ['__proto__', ['2']],
      ]);
    });

    it('are in a file that only this user can read, until the exchange ends', async () => {
      const modes: number[] = [];
      const { port } = await start(10, async (files) => {
        for (const { path } of files) modes.push((await stat(path ?? '')).mode & 0o777);
        expect(await readdir(directory)).toHaveLength(1);
      });
      const body = await caseBody('a PNG');
      const client = await connect(port);
      client.socket.write(uploadHead(MULTIPART, `Content-Length: ${body.length}`));
      client.socket.write(body);
      expect((await client.answer()).status).toBe(200);
      expect(modes).toEqual([0o600]);
      await expectEmptyDirectory();
    });

    it('with a Content-Length over the limit are refused before the body is read', async () => {
      const { port, outcomes } = await start(10);
      const client = await connect(port);
      client.socket.write(uploadHead(MULTIPART, 'Content-Length: 300000000'));
      const answer = await client.answer();
      expect([answer.status, answer.json()]).toMatchObject([413, { code: 'upload-too-large', part: 'body' }]);
      await expect.poll(() => outcomes.length).toBe(1);
    });

    it('without a length are refused while they stream in, and cut off if they continue', async () => {
      const { port } = await start(10);
      const client = await connect(port);
      client.socket.write(uploadHead(MULTIPART, 'Transfer-Encoding: chunked'));
      const piece = chunk(Buffer.alloc(65_536, 120));
      client.socket.write(chunk(multipart([{ name: 'file', filename: 'a', body: '' }], '')));
      let sent = 0;
      const closed = new Promise<void>((resolve) => client.socket.once('close', () => resolve()));
      let open = true;
      void closed.then(() => {
        open = false;
      });
      const answered = client.answer();
      answered.catch(() => undefined);
      while (open && sent < 200 * 1024 * 1024) {
        sent += piece.length;
        await write(client, piece);
      }
      expect((await answered).status).toBe(415);
      expect(sent).toBeLessThan(128 * 1024 * 1024);
      await expectEmptyDirectory();
    });

    it('that break off leave no file, and the handler does not run', async () => {
      let worked = 0;
      const { port, outcomes, faults } = await start(10, async () => {
        worked++;
      });
      const body = await caseBody('a PNG of the largest size');
      for (let i = 0; i < 5; i++) {
        const client = await connect(port);
        client.socket.write(uploadHead(MULTIPART, `Content-Length: ${body.length}`));
        await new Promise((sent) => client.socket.write(body.subarray(0, 100_000), sent));
        await expect.poll(() => readdir(directory)).not.toEqual([]);
        client.socket.destroy();
        await expect.poll(() => outcomes.length).toBe(i + 1);
        await expectEmptyDirectory();
      }
      expect(outcomes.map(({ kind }) => kind)).toEqual(Array.from({ length: 5 }, () => 'aborted'));
      expect([worked, faults]).toEqual([0, []]);
    });
  });
}
