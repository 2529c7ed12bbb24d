import { readdir } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { upload } from '../../src/upload/index.js';
import { type HeaderLine, testExchange } from '../exchange-fixture.js';
import { multipart } from './attacks.js';
import { client, FILES, filePart, JPEG, longer, newFolder, send } from './fixture.js';
import { MULTIPART } from './service.js';

describe('a body that is refused', () => {
  it.each<[string, readonly HeaderLine[], readonly Buffer[], number]>([
    ['by its length', [['Content-Length', '300000000']], [Buffer.alloc(10)], 413],
    ['while it comes', [], [multipart([filePart(longer(20_000))], '')], 413],
    [
      'for its second file',
      [],
      [multipart([filePart(longer(10_000))], ''), multipart([filePart('<html>'.repeat(2000))], '')],
      415,
    ],
  ])('%s is cut off after 2 s where its client falls silent, and leaves nothing', async (_why, more, sent, status) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const folder = await newFolder();
    const guard = upload({
      files: { ...FILES, maxBytes: 20_000, maxCount: 2 },
      spool: { directory: folder, memoryBytes: 10 },
    });
    const { exchange, body } = client(...more);
    const answered = guard(exchange);
    for (const [i, piece] of sent.entries()) {
      await expect.poll(() => readdir(folder)).toHaveLength(i);
      body.push(piece);
    }
    expect(await answered).toMatchObject({ status });
    vi.advanceTimersByTime(1999);
    expect(body.destroyed).toBe(false);
    vi.advanceTimersByTime(1);
    expect(body.destroyed).toBe(true);
    // Before the exchange settles: the answer may be long on its way.
    await expect.poll(() => readdir(folder)).toEqual([]);
  });

  it('is thrown away as it comes, and not cut off at once', async () => {
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
    const told: string[] = [];
    const openBody = (what: string) => {
      told.push(what);
      return Readable.from([multipart([filePart()])]);
    };
    const { exchange } = testExchange({ method: 'POST', headers: [['Content-Type', type], ...more], openBody });
    await upload({ files: FILES })(exchange);
    expect(told).toEqual([to]);
  });
});

describe('a whole body', () => {
  // What stands between the parts counts, too.
  const LIMIT = JPEG.length + 2 * 4096;
  const whole = multipart([filePart()]);
  const options = { files: { ...FILES, maxBytes: JPEG.length }, fields: { maxCount: 0 } };

  it.each([
    ['before its parts', (filling: string) => Buffer.concat([Buffer.from(`${filling}\r\n`), whole])],
    ['behind its parts', (filling: string) => Buffer.concat([whole, Buffer.from(`\r\n${filling}`)])],
  ])('with bytes %s may be of its largest size, and not of one byte more', async (_where, bodyOf) => {
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
