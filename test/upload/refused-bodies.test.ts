import { readdir } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { upload } from '../../src/upload/index.js';
import { type HeaderLine, testExchange } from '../exchange-fixture.js';
import { client, FILES, filePart, JPEG, newDirectory, padded, send } from './fixture.js';
import { MULTIPART, multipart } from './multipart.js';

describe('a refused body', () => {
  it.each<[string, readonly HeaderLine[], readonly Buffer[], number]>([
    ['by its Content-Length', [['Content-Length', '300000000']], [Buffer.alloc(10)], 413],
    ['while it is received', [], [multipart([filePart(padded(20_000))], '')], 413],
    [
      'because of its second file',
      [],
      [multipart([filePart(padded(10_000))], ''), multipart([filePart('<html>'.repeat(2000))], '')],
      415,
    ],
  ])(
    'is cut off after 2 s if its client stops sending, and leaves no file: refused %s',
    async (_why, more, sent, status) => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      onTestFinished(() => void vi.useRealTimers());
      const directory = await newDirectory();
      const guard = upload({
        files: { ...FILES, maxBytes: 20_000, maxCount: 2 },
        spool: { directory, memoryBytes: 10 },
      });
      const { exchange, body } = client(...more);
      const answered = guard(exchange);
      for (const [i, piece] of sent.entries()) {
        await expect.poll(() => readdir(directory)).toHaveLength(i);
        body.push(piece);
      }
      expect(await answered).toMatchObject({ status });
      vi.advanceTimersByTime(1999);
      expect(body.destroyed).toBe(false);
      vi.advanceTimersByTime(1);
      expect(body.destroyed).toBe(true);
      // Before the exchange ends: sending the answer can take long.
      await expect.poll(() => readdir(directory)).toEqual([]);
    },
  );

  it('is refused as soon as a text field is too large, before the field ends', async () => {
    const { exchange, body } = client();
    const answered = upload({ files: FILES, fields: { maxBytes: 1000 } })(exchange);
    body.push(multipart([{ name: 'a', body: 'x'.repeat(1001) }], '').subarray(0, -2));
    expect(await answered).toMatchObject({ status: 413, problem: { part: 'field', limit: 1000 } });
    body.destroy();
  });

  it('is discarded as it arrives, and not cut off at once', async () => {
    const { exchange, body } = client();
    const answered = upload({ files: FILES })(exchange);
    body.push(multipart([filePart('<html>'.repeat(50_000))], ''));
    expect(await answered).toMatchObject({ status: 415 });
    for (let i = 0; i < 10; i++) {
      body.push(Buffer.alloc(65_536));
      await new Promise((turn) => setTimeout(turn, 5));
      expect([body.destroyed, body.readableLength]).toEqual([false, 0]);
    }
    body.destroy();
  });

  it.each<[string, string, readonly HeaderLine[]]>([
    ['discard', 'text/plain', []],
    ['discard', MULTIPART, [['Content-Length', '300000000']]],
    ['read', MULTIPART, []],
  ])('is opened to %s it: %s, %j', async (to, type, more) => {
    const purposes: string[] = [];
    const openBody = (to: string) => {
      purposes.push(to);
      return Readable.from([multipart([filePart()])]);
    };
    const { exchange } = testExchange({ method: 'POST', headers: [['Content-Type', type], ...more], openBody });
    await upload({ files: FILES })(exchange);
    expect(purposes).toEqual([to]);
  });
});

describe('the size limit of a whole body', () => {
  // With 4096 bytes for each part and for what is around them.
  const LIMIT = JPEG.length + 2 * 4096;
  const whole = multipart([filePart()]);
  const options = { files: { ...FILES, maxBytes: JPEG.length }, fields: { maxCount: 0 } };

  it.each([
    ['before its parts', (padding: string) => Buffer.concat([Buffer.from(`${padding}\r\n`), whole])],
    ['after its parts', (padding: string) => Buffer.concat([whole, Buffer.from(`\r\n${padding}`)])],
  ])('counts bytes %s: accepts exactly the limit, and refuses one byte more', async (_where, bodyOf) => {
    for (const [size, expected] of [
      [LIMIT, undefined],
      [LIMIT + 1, { status: 413, problem: { part: 'body', limit: LIMIT } }],
    ] as const) {
      const body = bodyOf('x'.repeat(size - whole.length - 2));
      expect(body.length).toBe(size);
      for (const length of [[], [['Content-Length', `${size}`]]] as HeaderLine[][]) {
        const { reply } = await send(options, body, ...length);
        if (expected === undefined) expect(reply).toBeUndefined();
        else expect(reply).toMatchObject(expected);
      }
    }
  });
});
