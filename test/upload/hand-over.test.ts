import { readdir } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import fc from 'fast-check';
import sharp from 'sharp';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Exchange } from '../../src/core/exchange.js';
import { OptionError } from '../../src/core/option.js';
import { type OnFile, type ProvisionalFile, UploadError, type UploadOptions, upload } from '../../src/upload/index.js';
import { multipart } from './attacks.js';
import { client, cut, exchangeWith, longer, newFolder, noisy, filePart as part } from './fixture.js';

const FILES: UploadOptions['files'] = { types: ['image/png', 'image/jpeg'], maxBytes: 100_000, maxCount: 2 };
const jpeg = await noisy(160, 120).jpeg().toBuffer();

let folder: string;
beforeEach(async () => {
  folder = await newFolder();
});

const empty = () => expect.poll(() => readdir(folder)).toEqual([]);

interface Seen {
  readonly bytes: number;
  readonly ended: boolean;
  readonly error: unknown;
}

/** What a reader has come to know by now. */
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
  ['on the disk', 10],
  ['first in memory, then on the disk', 6000],
])('a file that is handed over before its end, %s', (_where, memoryBytes) => {
  const guardOf = (onFile: OnFile, more: Partial<UploadOptions> = {}) =>
    upload({ files: FILES, spool: { directory: folder, memoryBytes }, onFile, ...more });

  it('comes while it comes, and ends once all of the upload has been found good', async () => {
    let seen: (() => Seen) | undefined;
    let told: Omit<ProvisionalFile, 'stream'> | undefined;
    const guard = guardOf(({ stream, ...file }) => {
      seen = follow(stream);
      told = file;
      return 'the worker’s answer';
    });
    const { exchange, body } = client();
    const answered = guard(exchange);
    const whole = multipart([{ name: 'size', body: '7' }, part(jpeg), { name: 'late', body: '1' }]);
    const middle = whole.indexOf(jpeg) + 5000;
    body.push(whole.subarray(0, middle));
    await expect.poll(() => seen?.().bytes).toBeGreaterThan(4000);
    expect(told).toEqual({
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
    await empty();
  });

  it.each<[string, () => Buffer, string, Partial<UploadOptions>]>([
    ['too large', () => multipart([part(longer(100_000, jpeg))]), 'upload-too-large', {}],
    ['cut short', () => multipart([part(jpeg)]).subarray(0, -10), 'upload-malformed', {}],
    ['followed by a bad one', () => multipart([part(jpeg), part('<html>')]), 'upload-type-unsupported', {}],
    [
      'followed by a field too much',
      () => multipart([part(jpeg), { name: 'a', body: '' }]),
      'upload-too-large',
      {
        fields: { maxCount: 0 },
      },
    ],
    ['of too many pixels', () => multipart([part(jpeg)]), 'upload-too-large', { files: { ...FILES, maxPixels: 100 } }],
    ['not to be decoded', () => multipart([part(jpeg.subarray(0, -300))]), 'upload-undecodable', { decode: { sharp } }],
  ])('fails where it turns out to be %s', async (_what, bodyOf, code, more) => {
    let seen: (() => Seen) | undefined;
    const guard = guardOf(({ stream }) => {
      seen ??= follow(stream);
      return Promise.reject(new Error('the worker was cut off'));
    }, more);
    const slowly = async function* () {
      for (const piece of cut(bodyOf(), 5000)) {
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
    await empty();
  });

  it('fails where its client leaves', async () => {
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
    await empty();
  });

  it('fails for who has not read it when the exchange is over, and holds up nobody', async () => {
    const streams: Readable[] = [];
    const guard = guardOf(({ stream }) => streams.push(stream));
    const { exchange } = exchangeWith(multipart([part(jpeg), part(jpeg)]));
    expect(await guard(exchange)).toBeUndefined();
    exchange.end({ kind: 'completed', status: 200 });
    for (const stream of streams) {
      await expect(read(stream)).rejects.toMatchObject({ code: 'GATEWARDEN_UPLOAD_ABORTED' });
    }
    expect(streams.length).toBe(2);
    await empty();
  });

  it('may be given up by its reader', async () => {
    const guard = guardOf(({ stream }) => {
      stream.destroy();
    });
    const { exchange, faults } = exchangeWith(multipart([part(jpeg)]));
    expect(await guard(exchange)).toBeUndefined();
    expect([faults, await exchange.upload?.files[0]?.buffer()]).toEqual([[], jpeg]);
    exchange.end({ kind: 'completed', status: 200 });
    await empty();
  });

  it('is whole, however it comes and is read', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 9000 }),
        fc.integer({ min: 0, max: 3 }),
        fc.integer({ min: 1, max: 2 }),
        async (piece, pause, count) => {
          const chunks = cut(multipart(Array.from({ length: count }, () => part(jpeg))), piece);
          // One after the other: the second is not looked at before the first has ended.
          let before: Promise<unknown> = Promise.resolve();
          const guard = guardOf(({ stream }) => {
            const mine = before.then(async () => {
              const got: Buffer[] = [];
              for await (const chunk of stream) {
                for (let i = 0; i < pause; i++) await new Promise((turn) => setImmediate(turn));
                got.push(chunk as Buffer);
              }
              return Buffer.concat(got);
            });
            before = mine;
            return mine;
          });
          const { exchange } = exchangeWith(chunks);
          expect(await guard(exchange)).toBeUndefined();
          for (const file of exchange.upload?.files ?? []) expect(await file.result).toEqual(jpeg);
          expect(exchange.upload?.files.length).toBe(count);
          exchange.end({ kind: 'completed', status: 200 });
        },
      ),
      { numRuns: 25 },
    );
    await empty();
  });
});

describe('onFile', () => {
  const send = (exchange: Exchange, onFile: OnFile) =>
    upload({ files: FILES, spool: { directory: folder, memoryBytes: 10 }, onFile })(exchange);

  it('is not called for what is of no type that is taken', async () => {
    let calls = 0;
    const { exchange } = exchangeWith(multipart([part('<html>')]));
    expect(await send(exchange, () => calls++)).toMatchObject({ status: 415 });
    expect(calls).toBe(0);
  });

  it('gives a copy, in which its reader may write, and the fields that came before', async () => {
    let before: ProvisionalFile['fields'] | undefined;
    const pieces = async function* () {
      const parts = [{ name: 'size', body: '7' }, part(longer(9000, jpeg)), { name: 'late', body: '1' }];
      for (const piece of cut(multipart(parts), 1000)) {
        yield piece;
        await new Promise((turn) => setImmediate(turn));
      }
    };
    const { exchange } = exchangeWith(pieces());
    const guard = upload({
      files: FILES,
      onFile: ({ stream, fields }) => {
        before = fields;
        stream.on('data', (chunk: Buffer) => chunk.fill(0));
      },
    });
    expect(await guard(exchange)).toBeUndefined();
    expect(await exchange.upload?.files[0]?.buffer()).toEqual(longer(9000, jpeg));
    expect(before).toEqual(new Map([['size', ['7']]]));
    exchange.end({ kind: 'completed', status: 200 });
  });

  it('is not called any more once the upload is refused', async () => {
    let calls = 0;
    const { exchange } = exchangeWith(multipart([part(jpeg), { name: 'a'.repeat(2000), body: '' }]));
    expect(await send(exchange, () => calls++)).toMatchObject({ status: 400 });
    await new Promise((turn) => setTimeout(turn, 20));
    expect(calls).toBe(0);
  });

  it('that throws is a fault, and leaves nothing', async () => {
    const { exchange } = exchangeWith(multipart([part(jpeg)]));
    const onFile = () => {
      throw new Error('no worker');
    };
    await expect(send(exchange, onFile)).rejects.toThrow('no worker');
    exchange.end({ kind: 'refused', status: 500, code: 'internal-error' });
    await empty();
  });

  it.each([
    ['taken', () => multipart([part(jpeg)]), ['no worker']],
    ['refused', () => multipart([part(jpeg), part('<html>')]), []],
    ['cut short', () => multipart([part(jpeg)]).subarray(0, -30), []],
  ])('that fails later is a fault where the upload is %s', async (_how, bodyOf, expected) => {
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
    await empty();
  });

  it('that fails because a later guard has refused is none', async () => {
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

  it('that fails at once is a fault as soon as the upload is taken', async () => {
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
    await empty();
  });

  it.each<[string, Partial<UploadOptions>, string]>([
    ['no function', { onFile: true as never }, 'onFile'],
    ['what is written anew', { onFile: () => undefined, decode: { sharp, reencode: true } }, 'reencode'],
  ])('fails at the start for %s', (_what, options, named) => {
    const act = () => upload({ files: FILES, ...options });
    expect(act).toThrow(OptionError);
    expect(act).toThrow(named);
  });
});
