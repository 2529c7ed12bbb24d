import { readdir } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import fc from 'fast-check';
import sharp from 'sharp';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Exchange } from '../../src/core/exchange.js';
import { OptionError } from '../../src/core/option.js';
import { type IncomingFile, type OnFile, UploadError, type UploadOptions, upload } from '../../src/upload/index.js';
import { client, exchangeWith, newDirectory, noiseImage, padded, filePart as part, split } from './fixture.js';
import { multipart } from './multipart.js';

const FILES: UploadOptions['files'] = { types: ['image/png', 'image/jpeg'], maxBytes: 100_000, maxCount: 2 };
const jpeg = await noiseImage(160, 120).jpeg().toBuffer();

let directory: string;
beforeEach(async () => {
  directory = await newDirectory();
});

const expectEmptyDirectory = () => expect.poll(() => readdir(directory)).toEqual([]);

interface Seen {
  readonly bytes: number;
  readonly ended: boolean;
  readonly error: unknown;
}

/** Follows a stream. Returns a function that says what its reader has seen so far. */
function follow(stream: Readable): () => Seen {
  let seen: Seen = { bytes: 0, ended: false, error: undefined };
  stream
    .on('data', (chunk: Buffer) => {
      seen = { ...seen, bytes: seen.bytes + chunk.length };
    })
    .on('end', () => {
      seen = { ...seen, ended: true };
    })
    .on('error', (error) => {
      seen = { ...seen, error };
    });
  return () => seen;
}

async function read(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

describe.each([
  ['in memory', 1_000_000],
  ['on disk', 10],
  ['first in memory, then on disk', 6000],
])('onFile with a file %s', (_where, memoryBytes) => {
  const guardOf = (onFile: OnFile, more: Partial<UploadOptions> = {}) =>
    upload({ files: FILES, spool: { directory, memoryBytes }, onFile, ...more });

  it('streams a file while it is received, and ends it once the whole upload is accepted', async () => {
    let seen: (() => Seen) | undefined;
    let details: Omit<IncomingFile, 'stream'> | undefined;
    const guard = guardOf(({ stream, ...file }) => {
      seen = follow(stream);
      details = file;
      return 'the worker’s answer';
    });
    const { exchange, body } = client();
    const answered = guard(exchange);
    const whole = multipart([{ name: 'size', body: '7' }, part(jpeg), { name: 'late', body: '1' }]);
    const middle = whole.indexOf(jpeg) + 5000;
    body.push(whole.subarray(0, middle));
    await expect.poll(() => seen?.().bytes).toBeGreaterThan(4000);
    expect(details).toEqual({
      field: 'file',
      filename: 'a.jpg',
      type: 'image/jpeg',
      fields: new Map([['size', ['7']]]),
    });
    expect(exchange.upload).toBeUndefined();
    body.push(whole.subarray(middle, -4));
    await expect.poll(() => seen?.().bytes).toBe(jpeg.length);
    expect(seen?.().ended).toBe(false);
    body.push(whole.subarray(-4));
    body.push(null);
    expect(await answered).toBeUndefined();
    await expect.poll(() => seen?.().ended).toBe(true);
    expect(exchange.upload?.files[0]?.result).toBe('the worker’s answer');
    expect(await exchange.upload?.files[0]?.buffer()).toEqual(jpeg);
    exchange.end({ kind: 'completed', status: 200 });
    await expectEmptyDirectory();
  });

  it.each<[string, () => Buffer, string, Partial<UploadOptions>]>([
    ['too large', () => multipart([part(padded(100_000, jpeg))]), 'upload-too-large', {}],
    ['incomplete', () => multipart([part(jpeg)]).subarray(0, -10), 'upload-malformed', {}],
    ['followed by a refused file', () => multipart([part(jpeg), part('<html>')]), 'upload-type-unsupported', {}],
    [
      'followed by one field too many',
      () => multipart([part(jpeg), { name: 'a', body: '' }]),
      'upload-too-large',
      {
        fields: { maxCount: 0 },
      },
    ],
    [
      'an image of too many pixels',
      () => multipart([part(jpeg)]),
      'upload-too-large',
      { files: { ...FILES, maxPixels: 100 } },
    ],
    [
      'an image that does not decode',
      () => multipart([part(jpeg.subarray(0, -300))]),
      'upload-undecodable',
      { decode: { sharp } },
    ],
  ])('fails the stream of a file that is %s', async (_what, bodyOf, code, more) => {
    let seen: (() => Seen) | undefined;
    const guard = guardOf(({ stream }) => {
      seen ??= follow(stream);
      return Promise.reject(new Error('the worker was cut off'));
    }, more);
    const slowly = async function* () {
      for (const piece of split(bodyOf(), 5000)) {
        yield piece;
        await new Promise((turn) => setTimeout(turn, 2));
      }
    };
    const { exchange, faults } = exchangeWith(slowly());
    expect(await guard(exchange)).toMatchObject({ problem: { code } });
    await expect.poll(() => seen?.().error).toBeInstanceOf(UploadError);
    expect(seen?.().error).toMatchObject({ code: 'GATEWARDEN_UPLOAD_REFUSED', problem: { code } });
    expect([seen?.().ended, faults]).toEqual([false, []]);
    exchange.end({ kind: 'refused', status: 413, code: 'upload-too-large' });
    await expectEmptyDirectory();
  });

  it('fails the stream if the client disconnects', async () => {
    let seen: (() => Seen) | undefined;
    const guard = guardOf(({ stream }) => {
      seen = follow(stream);
    });
    const { exchange, body } = client();
    const answered = guard(exchange);
    body.push(multipart([part(jpeg)]).subarray(0, 6000));
    await expect.poll(() => seen?.().bytes).toBeGreaterThan(4000);
    body.destroy(new Error('reset'));
    await answered;
    await expect.poll(() => seen?.().error).toMatchObject({ code: 'GATEWARDEN_UPLOAD_ABORTED' });
    expect(seen?.().ended).toBe(false);
    exchange.end({ kind: 'aborted' });
    await expectEmptyDirectory();
  });

  it('fails a stream that is unread when the exchange ends, and delays nothing', async () => {
    const streams: Readable[] = [];
    const guard = guardOf(({ stream }) => streams.push(stream));
    const { exchange } = exchangeWith(multipart([part(jpeg), part(jpeg)]));
    expect(await guard(exchange)).toBeUndefined();
    exchange.end({ kind: 'completed', status: 200 });
    for (const stream of streams) {
      await expect(read(stream)).rejects.toMatchObject({ code: 'GATEWARDEN_UPLOAD_ABORTED' });
    }
    expect(streams.length).toBe(2);
    await expectEmptyDirectory();
  });

  it('accepts the upload if the reader destroys its stream', async () => {
    const guard = guardOf(({ stream }) => {
      stream.destroy();
    });
    const { exchange, faults } = exchangeWith(multipart([part(jpeg)]));
    expect(await guard(exchange)).toBeUndefined();
    expect([faults, await exchange.upload?.files[0]?.buffer()]).toEqual([[], jpeg]);
    exchange.end({ kind: 'completed', status: 200 });
    await expectEmptyDirectory();
  });

  it('streams every byte, however the body is split and the stream is read', async () => {
    const image = await noiseImage(120, 90).jpeg().toBuffer();
    expect(image.length).toBeGreaterThan(6000);

    async function expectWhole(chunkBytes: number, turnsBetweenReads: number, count: number): Promise<void> {
      // In sequence: the second stream is not read before the first has ended.
      let previous: Promise<unknown> = Promise.resolve();
      const guard = guardOf(({ stream }) => {
        const result = previous.then(async () => {
          const received: Buffer[] = [];
          for await (const chunk of stream) {
            for (let i = 0; i < turnsBetweenReads; i++) await new Promise((turn) => setImmediate(turn));
            received.push(chunk as Buffer);
          }
          return Buffer.concat(received);
        });
        previous = result;
        return result;
      });
      const { exchange } = exchangeWith(split(multipart(Array.from({ length: count }, () => part(image))), chunkBytes));
      expect(await guard(exchange)).toBeUndefined();
      const results = await Promise.all((exchange.upload?.files ?? []).map(({ result }) => result as Promise<Buffer>));
      expect(results.map((result) => result.equals(image))).toEqual(Array.from({ length: count }, () => true));
      exchange.end({ kind: 'completed', status: 200 });
    }

    const delivery = fc.tuple(
      fc.integer({ min: 1, max: 9000 }),
      fc.integer({ min: 0, max: 3 }),
      fc.integer({ min: 1, max: 2 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(delivery, { minLength: 5, maxLength: 5 }), async (deliveries) => {
        await Promise.all(deliveries.map((options) => expectWhole(...options)));
      }),
      { numRuns: 5 },
    );
    await expectEmptyDirectory();
  });
});

describe('onFile', () => {
  const send = (exchange: Exchange, onFile: OnFile) =>
    upload({ files: FILES, spool: { directory, memoryBytes: 10 }, onFile })(exchange);

  it('is not called for a type that is not accepted', async () => {
    let calls = 0;
    const { exchange } = exchangeWith(multipart([part('<html>')]));
    expect(await send(exchange, () => calls++)).toMatchObject({ status: 415 });
    expect(calls).toBe(0);
  });

  it('gets the fields that came before, and a copy of the bytes, which it can modify', async () => {
    let fieldsBefore: IncomingFile['fields'] | undefined;
    const pieces = async function* () {
      const parts = [{ name: 'size', body: '7' }, part(padded(9000, jpeg)), { name: 'late', body: '1' }];
      for (const piece of split(multipart(parts), 1000)) {
        yield piece;
        await new Promise((turn) => setImmediate(turn));
      }
    };
    const { exchange } = exchangeWith(pieces());
    const guard = upload({
      files: FILES,
      onFile: ({ stream, fields }) => {
        fieldsBefore = fields;
        stream.on('data', (chunk: Buffer) => chunk.fill(0));
      },
    });
    expect(await guard(exchange)).toBeUndefined();
    expect(await exchange.upload?.files[0]?.buffer()).toEqual(padded(9000, jpeg));
    expect(fieldsBefore).toEqual(new Map([['size', ['7']]]));
    exchange.end({ kind: 'completed', status: 200 });
  });

  it('gets only the fields that came before, also of a small file in one chunk with the whole body', async () => {
    let fieldsBefore: IncomingFile['fields'] | undefined;
    const small = await noiseImage(2, 2).jpeg().toBuffer();
    const { exchange } = exchangeWith(
      multipart([{ name: 'size', body: '7' }, part(small), { name: 'late', body: '1' }]),
    );
    await send(exchange, ({ fields }) => {
      fieldsBefore = fields;
    });
    expect(fieldsBefore).toEqual(new Map([['size', ['7']]]));
    exchange.end({ kind: 'completed', status: 200 });
  });

  it('is not called after the client has disconnected', async () => {
    let calls = 0;
    const { exchange, body } = client();
    const answered = send(exchange, () => calls++);
    body.push(multipart([part(jpeg)]).subarray(0, 6000));
    // The type is detected in microtasks, which run after this.
    process.nextTick(() => process.nextTick(() => body.destroy(new Error('reset'))));
    expect(await answered).toMatchObject({ status: 400 });
    await new Promise((turn) => setTimeout(turn, 20));
    expect(calls).toBe(0);
  });

  it('makes the guard throw if it throws, and leaves no file', async () => {
    const { exchange } = exchangeWith(multipart([part(jpeg)]));
    const onFile = () => {
      throw new Error('no worker');
    };
    await expect(send(exchange, onFile)).rejects.toThrow('no worker');
    exchange.end({ kind: 'refused', status: 500, code: 'internal-error' });
    await expectEmptyDirectory();
  });

  it.each([
    ['accepted', () => multipart([part(jpeg)]), ['no worker']],
    ['refused', () => multipart([part(jpeg), part('<html>')]), []],
    ['incomplete', () => multipart([part(jpeg)]).subarray(0, -30), []],
  ])('reports a later rejection as a fault only if the upload is accepted: %s', async (_how, bodyOf, expected) => {
    const { exchange, faults } = exchangeWith(bodyOf());
    let fail: (error: Error) => void = () => undefined;
    await send(exchange, ({ stream }) => {
      stream.resume();
      return new Promise((_, reject) => {
        fail = reject;
      });
    });
    fail(new Error('no worker'));
    await new Promise((turn) => setImmediate(turn));
    exchange.end({ kind: 'completed', status: 200 });
    expect(faults.map((fault) => (fault as Error).message)).toEqual(expected);
    await expectEmptyDirectory();
  });

  it('reports no fault if it rejects after a later guard has refused', async () => {
    const { exchange, faults } = exchangeWith(multipart([part()]));
    let fail: (error: Error) => void = () => undefined;
    const onFile = () =>
      new Promise((_, reject) => {
        fail = reject;
      });
    expect(await upload({ files: FILES, onFile })(exchange)).toBeUndefined();
    exchange.end({ kind: 'refused', status: 403, code: 'scope-insufficient' });
    fail(new Error('the worker was cut off'));
    await new Promise((turn) => setImmediate(turn));
    expect(faults).toEqual([]);
  });

  it('reports an early rejection once the upload is accepted', async () => {
    const { exchange, faults, body } = client();
    const answered = send(exchange, async () => {
      throw new Error('no worker');
    });
    const whole = multipart([part(jpeg)]);
    body.push(whole.subarray(0, -4));
    await new Promise((turn) => setTimeout(turn, 20));
    expect(faults).toEqual([]);
    body.push(whole.subarray(-4));
    body.push(null);
    expect(await answered).toBeUndefined();
    expect(faults).toEqual([new Error('no worker')]);
    await expect(exchange.upload?.files[0]?.result).rejects.toThrow('no worker');
    exchange.end({ kind: 'completed', status: 502 });
    await expectEmptyDirectory();
  });

  it.each<[string, Partial<UploadOptions>, string]>([
    ['a value that is not a function', { onFile: true as never }, 'onFile'],
    ['decode.reencode', { onFile: () => undefined, decode: { sharp, reencode: true } }, 'reencode'],
  ])('is refused as an option with %s', (_what, options, named) => {
    const act = () => upload({ files: FILES, ...options });
    expect(act).toThrow(OptionError);
    expect(act).toThrow(named);
  });
});
