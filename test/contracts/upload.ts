import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { type Exchange, type Guard, type Outcome, reportFaults, type UploadedFile } from '../../src/index.js';
import { upload } from '../../src/upload/index.js';
import { Client } from '../raw-client.js';
import { BOUNDARY, FILE_BYTES, MAX_PIXELS, multipart, uploadAttacks } from '../upload/attacks.js';
import type { Serve } from './adapter.js';

/** The table of attacks on uploads, and what becomes of their files, over real sockets through an adapter. */
export function uploadContract(name: string, serve: Serve): void {
  describe(`uploads, through ${name}`, () => {
    let folder: string;
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), 'gatewarden-upload-'));
    });
    afterEach(() => rm(folder, { recursive: true }));

    async function start(memoryBytes: number, after?: (files: readonly UploadedFile[]) => Promise<unknown>) {
      const faults: unknown[] = [];
      const outcomes: Outcome[] = [];
      let exchange: Exchange | undefined;
      const watch: Guard = (of) => {
        exchange = of;
        of.onSettled((outcome) => outcomes.push(outcome));
        return undefined;
      };
      const { port, close } = await serve({
        guards: [[reportFaults((error) => faults.push(error)), watch]],
        routes: [
          {
            method: 'POST',
            path: '/',
            guards: [
              [
                upload({
                  files: {
                    types: ['image/png', 'image/jpeg'],
                    maxBytes: FILE_BYTES,
                    fields: ['file'],
                    maxPixels: MAX_PIXELS,
                  },
                  fields: { maxCount: 3, maxBytes: 1000 },
                  store: { memoryBytes, folder },
                }),
              ],
            ],
            handler: {
              does: 'answer',
              status: 200,
              body: {},
              after: async () => after?.(exchange?.upload?.files ?? []),
            },
          },
        ],
        entered: () => undefined,
      });
      onTestFinished(close);
      return { port, faults, outcomes, exchange: () => exchange };
    }

    const head = (contentType: string | undefined, ...fields: readonly string[]): string =>
      [
        'POST / HTTP/1.1',
        'Host: gatewarden.test',
        ...(contentType === undefined ? [] : [`Content-Type: ${contentType}`]),
        ...fields,
        '',
        '',
      ].join('\r\n');
    const TYPE = `multipart/form-data; boundary=${BOUNDARY}`;

    async function connect(port: number): Promise<Client> {
      const client = await Client.connect(port);
      onTestFinished(() => void client.socket.destroy());
      return client;
    }

    const empty = () => expect.poll(() => readdir(folder)).toEqual([]);

    it.each([
      ['in memory', 1_000_000],
      ['on the disk', 10],
    ])('come to what the table says, %s, and leave no file', async (_where, memoryBytes) => {
      const seen: (readonly [UploadedFile, Buffer])[] = [];
      const { port, faults, exchange } = await start(memoryBytes, async (files) => {
        for (const file of files) seen.push([file, await file.buffer()]);
      });
      for (const { what, body, contentType, status, code, members, found } of await uploadAttacks()) {
        seen.length = 0;
        const client = await connect(port);
        const type = contentType === undefined && what !== 'no type' ? TYPE : contentType;
        client.socket.write(Buffer.from(head(type, `Content-Length: ${body.length}`), 'latin1'));
        client.socket.write(body);
        const answer = await client.answer();
        const problem = status === 200 ? undefined : (answer.json() as Record<string, unknown>);
        expect({ what, status: answer.status, code: problem?.code }).toEqual({ what, status, code });
        if (members !== undefined) expect([what, problem]).toMatchObject([what, members]);
        if (found !== undefined) expect([what, seen[0]?.[0]]).toMatchObject([what, found]);
        expect([what, seen.length]).toEqual([what, status === 200 ? 1 : 0]);
        if (seen[0] !== undefined) {
          const [file, content] = seen[0];
          expect(body.includes(content)).toBe(true);
          expect([file.bytes, file.path === undefined]).toEqual([content.length, memoryBytes > content.length]);
        }
        client.socket.destroy();
      }
      expect(faults).toEqual([]);
      expect(exchange()).toBeDefined();
      await empty();
    });

    it('are read in pieces as well as at once, with and without a length, and the next request follows', async () => {
      const [good] = await uploadAttacks();
      const { port, faults } = await start(10);
      const client = await connect(port);
      const body = good?.body ?? Buffer.alloc(0);
      client.socket.write(head(TYPE, 'Transfer-Encoding: chunked'));
      for (let at = 0; at < body.length; at += 7) {
        const piece = body.subarray(at, at + 7);
        client.socket.write(
          Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]),
        );
      }
      client.socket.write('0\r\n\r\n');
      expect((await client.answer()).status).toBe(200);
      client.socket.write(head(TYPE, `Content-Length: ${body.length}`));
      client.socket.write(body);
      expect((await client.answer()).status).toBe(200);
      expect(faults).toEqual([]);
      await empty();
    });

    it.each([
      ['the largest size', 'a PNG of the largest size', 200],
      ['one byte more', 'a file one byte too large', 413],
    ])('of %s come to the same without a length', async (_size, which, status) => {
      const { port } = await start(10);
      const body = (await uploadAttacks()).find(({ what }) => what === which)?.body ?? Buffer.alloc(0);
      const client = await connect(port);
      client.socket.write(head(TYPE, 'Transfer-Encoding: chunked'));
      client.socket.write(
        Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')]),
      );
      expect((await client.answer()).status).toBe(status);
      await empty();
    });

    it('that are shorter than they say are not taken', async () => {
      let worked = 0;
      const { port, outcomes } = await start(10, async () => {
        worked++;
      });
      const body = (await uploadAttacks())[0]?.body ?? Buffer.alloc(0);
      const client = await connect(port);
      client.socket.write(head(TYPE, `Content-Length: ${body.length + 100}`));
      await new Promise((sent) => client.socket.write(body.subarray(0, -4), sent));
      client.socket.end();
      await expect.poll(() => outcomes.length).toBe(1);
      expect([worked, outcomes[0]?.kind]).not.toEqual([1, 'completed']);
      expect(worked).toBe(0);
      await empty();
    });

    it('show the fields beside the file, whatever they are called', async () => {
      const { port, exchange } = await start(1_000_000);
      const png = (await uploadAttacks())[0]?.body ?? Buffer.alloc(0);
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
      client.socket.write(head(TYPE, `Content-Length: ${body.length}`));
      client.socket.write(body);
      expect((await client.answer()).status).toBe(200);
      expect([...(exchange()?.upload?.fields ?? [])]).toEqual([
        ['a', ['1', 'three']],
        ['__proto__', ['2']],
      ]);
    });

    it('are in a file that only this user may read, until the exchange settles', async () => {
      const modes: number[] = [];
      const { port } = await start(10, async (files) => {
        for (const { path } of files) modes.push((await stat(path ?? '')).mode & 0o777);
        expect(await readdir(folder)).toHaveLength(1);
      });
      const body = (await uploadAttacks())[0]?.body ?? Buffer.alloc(0);
      const client = await connect(port);
      client.socket.write(head(TYPE, `Content-Length: ${body.length}`));
      client.socket.write(body);
      expect((await client.answer()).status).toBe(200);
      expect(modes).toEqual([0o600]);
      await empty();
    });

    it('that are announced too large are refused before a byte of them is read', async () => {
      const { port, outcomes } = await start(10);
      const client = await connect(port);
      client.socket.write(head(TYPE, 'Content-Length: 300000000'));
      const answer = await client.answer();
      expect([answer.status, answer.json()]).toMatchObject([413, { code: 'upload-too-large', part: 'body' }]);
      await expect.poll(() => outcomes.length).toBe(1);
    });

    it('that lie about being small are refused while they come, and cut off when they go on', async () => {
      const { port } = await start(10);
      const client = await connect(port);
      client.socket.write(head(TYPE, 'Transfer-Encoding: chunked'));
      const piece = Buffer.alloc(65_536, 120);
      const chunk = Buffer.concat([Buffer.from('10000\r\n'), piece, Buffer.from('\r\n')]);
      client.socket.write(
        `${(200).toString(16)}\r\n${multipart([{ name: 'file', filename: 'a', body: '' }], '')
          .toString('latin1')
          .padEnd(200)}\r\n`,
      );
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
        if (!client.socket.write(chunk)) {
          await new Promise<void>((resolve) => {
            client.socket.once('drain', resolve);
            client.socket.once('close', () => resolve());
          });
        }
      }
      expect((await answered).status).toBe(415);
      expect(sent).toBeLessThan(128 * 1024 * 1024);
      await empty();
    });

    it('that break off leave nothing behind, and begin no work', async () => {
      let worked = 0;
      const { port, outcomes, faults } = await start(10, async () => {
        worked++;
      });
      const body =
        (await uploadAttacks()).find(({ what }) => what === 'a PNG of the largest size')?.body ?? Buffer.alloc(0);
      for (let i = 0; i < 5; i++) {
        const client = await connect(port);
        client.socket.write(head(TYPE, `Content-Length: ${body.length}`));
        await new Promise((sent) => client.socket.write(body.subarray(0, 100_000), sent));
        await expect.poll(() => readdir(folder)).not.toEqual([]);
        client.socket.destroy();
        await expect.poll(() => outcomes.length).toBe(i + 1);
        await empty();
      }
      expect(outcomes.map(({ kind }) => kind)).toEqual(Array.from({ length: 5 }, () => 'aborted'));
      expect([worked, faults]).toEqual([0, []]);
    });
  });
}
