import { getEventListeners } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import sharp from 'sharp';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { sequence } from '../../src/core/sequence.js';
import { type SharpFunction, UploadError, upload } from '../../src/upload/index.js';
import { testExchange } from '../exchange-fixture.js';
import { client, exchangeWith, FILES, filePart, JPEG, newDirectory, split } from './fixture.js';
import { MULTIPART, multipart } from './multipart.js';

let directory: string;
beforeEach(async () => {
  directory = await newDirectory();
});

const part = (body: Buffer) => multipart([filePart(body)]);

describe('upload with reencode', () => {
  it.each([
    ['in memory', 1_000_000],
    ['on disk', 10],
  ])('provides the re-encoded file, %s, and removes both files', async (_where, memoryBytes) => {
    const guard = upload({
      files: FILES,
      decode: { sharp, reencode: true },
      spool: { directory, memoryBytes },
    });
    const { exchange } = exchangeWith(part(Buffer.concat([JPEG, Buffer.from('<script>alert(1)</script>')])));
    expect(await guard(exchange)).toBeUndefined();
    const [file] = exchange.upload?.files ?? [];
    const content = await file?.buffer();
    expect(content?.includes('script')).toBe(false);
    expect([file?.bytes, file?.width, file?.height]).toEqual([content?.length, 80, 60]);
    if (memoryBytes === 10) {
      expect(await readdir(directory)).toHaveLength(1);
      expect(await readFile(file?.path ?? '')).toEqual(content);
    }
    const streamed: Buffer[] = [];
    for await (const chunk of file?.stream() ?? []) streamed.push(chunk as Buffer);
    expect(Buffer.concat(streamed)).toEqual(content);
    exchange.end({ kind: 'completed', status: 200 });
    await expect.poll(() => readdir(directory)).toEqual([]);
  });

  it('refuses an image that does not decode, and leaves no file', async () => {
    const guard = upload({
      files: FILES,
      decode: { sharp, reencode: true },
      spool: { directory, memoryBytes: 10 },
    });
    const { exchange } = exchangeWith(part(JPEG.subarray(0, JPEG.length - 200)));
    expect(await guard(exchange)).toMatchObject({ status: 422, problem: { code: 'upload-undecodable' } });
    exchange.end({ kind: 'refused', status: 422, code: 'upload-undecodable' });
    await expect.poll(() => readdir(directory)).toEqual([]);
  });
});

describe('a client that disconnects while its image is decoded', () => {
  /** A sharp that finishes decoding when the test says so. */
  function holdingSharp() {
    const waiting: (() => void)[] = [];
    const holding: SharpFunction = (input, options) => {
      const image = sharp(input, options);
      const whole = {
        metadata: () => image.metadata(),
        resize: () => whole,
        raw: () => whole,
        timeout: () => whole,
        rotate: () => whole,
        toFormat: () => whole,
        toBuffer: async () => {
          const decoded = await image.toBuffer();
          await new Promise<void>((resolve) => waiting.push(resolve));
          return decoded;
        },
      };
      return whole;
    };
    return { waiting, holding };
  }

  it('leaves no file, not even of an image that is re-encoded afterwards', async () => {
    const { waiting, holding } = holdingSharp();
    const guard = upload({
      files: FILES,
      decode: { sharp: holding, reencode: true },
      spool: { directory, memoryBytes: 10 },
    });
    const { exchange, faults } = exchangeWith(part(JPEG));
    const answered = guard(exchange);
    await expect.poll(() => waiting.length).toBe(1);
    expect(await readdir(directory)).toHaveLength(1);
    exchange.abort();
    waiting[0]?.();
    expect(await answered).toMatchObject({ status: 400 });
    expect([faults, exchange.upload]).toEqual([[], undefined]);
    await expect.poll(() => readdir(directory)).toEqual([]);
  });

  it('gives up its place in the queue', async () => {
    const { waiting, holding } = holdingSharp();
    const guard = upload({
      files: FILES,
      decode: { sharp: holding, reencode: true, concurrency: 1 },
      spool: { directory, memoryBytes: 10 },
    });
    const first = exchangeWith(part(JPEG));
    const second = exchangeWith(part(JPEG));
    const third = exchangeWith(part(JPEG));
    const one = guard(first.exchange);
    await expect.poll(() => waiting.length).toBe(1);
    const two = guard(second.exchange);
    const three = guard(third.exchange);
    // An upload that waits in the queue listens on its signal.
    const waits = ({ exchange }: typeof first) => getEventListeners(exchange.signal, 'abort').length;
    await expect.poll(() => [second, third].map(waits)).toEqual([1, 1]);
    second.exchange.abort();
    expect(await two).toMatchObject({ status: 400 });
    waiting[0]?.();
    expect(await one).toBeUndefined();
    await expect.poll(() => waiting.length).toBe(2);
    waiting[1]?.();
    expect(await three).toBeUndefined();
    expect(second.faults).toEqual([]);
    for (const { exchange } of [first, third]) exchange.end({ kind: 'completed', status: 200 });
    await expect.poll(() => readdir(directory)).toEqual([]);
  });
});

describe('a body that upload cannot read', () => {
  const guard = sequence(upload({ files: FILES }));

  it('is a fault if it was read before', async () => {
    const { exchange, faults } = testExchange({
      method: 'POST',
      headers: [['Content-Type', MULTIPART]],
      openBody: () => 'consumed',
    });
    expect(await guard(exchange)).toMatchObject({ status: 500 });
    expect(String(faults[0])).toMatch(/put upload before body parsers/);
  });

  it('is refused by its Content-Type if a body parser for that type has read it', async () => {
    const { exchange, faults } = testExchange({
      method: 'POST',
      headers: [['Content-Type', 'application/json']],
      openBody: () => 'consumed',
    });
    expect(await guard(exchange)).toMatchObject({
      status: 400,
      problem: { reason: 'the Content-Type is not multipart/form-data' },
    });
    expect(faults).toEqual([]);
  });

  it('is refused as incomplete if the client disconnects', async () => {
    const { exchange, faults, body } = client();
    const waiting = guard(exchange);
    body.push(part(JPEG).subarray(0, 100));
    body.destroy(new Error('aborted'));
    expect(await waiting).toMatchObject({
      status: 400,
      problem: { reason: 'the body ended before the closing multipart boundary' },
    });
    expect(faults).toEqual([]);
  });
});

describe('a file whose exchange has ended', () => {
  it.each([
    ['in memory', 1_000_000],
    ['on disk', 10],
  ])('fails to be read, instead of being empty, %s', async (_where, memoryBytes) => {
    const guard = upload({ files: FILES, spool: { directory, memoryBytes } });
    const { exchange } = exchangeWith(part(JPEG));
    await guard(exchange);
    const [file] = exchange.upload?.files ?? [];
    exchange.end({ kind: 'completed', status: 202 });
    await expect(file?.buffer()).rejects.toMatchObject({ code: 'GATEWARDEN_UPLOAD_ABORTED' });
    const read = async () => {
      for await (const _ of file?.stream() ?? []);
    };
    await expect(read()).rejects.toThrow('the uploaded file is no longer available');
    await expect(read()).rejects.toBeInstanceOf(UploadError);
  });

  it.each([
    ['ended before', false],
    ['ended while', true],
  ])('survives a stream without error listener if the exchange %s it was opened', async (_when, openedBefore) => {
    const uncaught: unknown[] = [];
    const listen = (error: unknown) => uncaught.push(error);
    process.on('uncaughtException', listen);
    onTestFinished(() => void process.off('uncaughtException', listen));
    const { exchange } = exchangeWith(part(JPEG));
    await upload({ files: FILES, spool: { directory, memoryBytes: 10 } })(exchange);
    const [file] = exchange.upload?.files ?? [];
    const early = openedBefore ? file?.stream() : undefined;
    exchange.abort();
    await expect.poll(() => readdir(directory)).toEqual([]);
    const stream = early ?? file?.stream();
    stream?.resume();
    await expect.poll(() => stream?.closed).toBe(true);
    expect(uncaught).toEqual([]);
  });
});

describe('an upload of many images', () => {
  it('occupies one slot of the decoder at a time', async () => {
    let now = 0;
    let most = 0;
    const counting: SharpFunction = (input, options) => {
      most = Math.max(most, ++now);
      const image = sharp(input, options);
      const whole = {
        metadata: () => image.metadata(),
        timeout: () => whole,
        rotate: () => whole,
        toFormat: () => whole,
        resize: () => whole,
        raw: () => whole,
        toBuffer: () =>
          image
            .raw()
            .toBuffer()
            .finally(() => now--),
      };
      return whole;
    };
    const guard = upload({
      files: { ...FILES, maxCount: 20 },
      decode: { sharp: counting, concurrency: 8 },
      spool: { directory },
    });
    const body = multipart(Array.from({ length: 20 }, () => filePart()));
    const { exchange } = exchangeWith(body);
    expect(await guard(exchange)).toBeUndefined();
    expect([most, exchange.upload?.files.length]).toEqual([1, 20]);
    exchange.end({ kind: 'completed', status: 200 });
  });
});

describe('many slow uploads at once', () => {
  it('keep their content apart, and are all answered', async () => {
    const guard = upload({ files: FILES, spool: { directory, memoryBytes: 10 } });
    const body = part(JPEG);
    const answers = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        const slow = async function* () {
          for (const piece of split(body, 97)) {
            await new Promise((turn) => setImmediate(turn));
            yield piece;
          }
        };
        const { exchange, faults } = exchangeWith(slow());
        const reply = await guard(exchange);
        expect(faults).toEqual([]);
        expect((await exchange.upload?.files[0]?.buffer())?.equals(JPEG)).toBe(true);
        exchange.end(i % 2 === 0 ? { kind: 'completed', status: 200 } : { kind: 'aborted' });
        return reply;
      }),
    );
    expect(answers.every((reply) => reply === undefined)).toBe(true);
    await expect.poll(() => readdir(directory)).toEqual([]);
  });
});
