import { getEventListeners } from 'node:events';
import { Readable } from 'node:stream';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { OptionError } from '../../src/core/option.js';
import {
  type DecodeOptions,
  type InspectImageOptions,
  imageInspector,
  type SharpFunction,
  UploadError,
  type UploadOptions,
  upload,
} from '../../src/upload/index.js';
import { noisy } from './fixture.js';

let png: Buffer;
let jpeg: Buffer;
beforeAll(async () => {
  png = await noisy(200, 150).png().toBuffer();
  jpeg = await noisy(200, 150).jpeg().toBuffer();
});

const inspect = imageInspector({ types: ['image/png', 'image/jpeg'], maxBytes: '1mb', maxPixels: 100_000 });
const decoding = imageInspector({ types: ['image/png', 'image/jpeg'], maxBytes: '1mb', decode: { sharp } });
const inLines = (end: string) => png.toString('base64').replace(/.{76}/g, `$&${end}`);
const problemOf = async (image: unknown, by = inspect) => {
  const inspected = await by(image);
  return inspected.kind === 'refused' ? inspected.problem : undefined;
};

/** What sharp gives, with another way to decode: for when it is slow or fails. */
function imageWhose(toBuffer: () => Promise<unknown>, format = 'png'): SharpFunction {
  const image: ReturnType<SharpFunction> = {
    timeout: () => image,
    rotate: () => image,
    toFormat: () => image,
    metadata: async () => ({ format }),
    resize: () => image,
    raw: () => image,
    toBuffer: async () => {
      await toBuffer();
      return Buffer.alloc(0);
    },
  };
  // The sample by which the decoder finds out whose fault it was is read as ever.
  return (input, options) => (input.length < 300 ? sharp(input, options) : image);
}

describe('an image', () => {
  it('is known by its content', async () => {
    expect(await inspect(png)).toEqual({
      kind: 'accepted',
      type: 'image/png',
      width: 200,
      height: 150,
      pages: 1,
      content: png,
    });
  });

  it.each([
    ['in base64', () => png.toString('base64')],
    ['in base64, in lines', () => inLines('\n')],
    ['in base64, in lines as of mail', () => inLines('\r\n')],
    ['in a data URL', () => `data:image/png;base64,${png.toString('base64')}`],
    ['in a data URL of another type', () => `data:image/jpeg;base64,${png.toString('base64')}`],
    ['in lines, the last of which ends', () => `${inLines('\n')}\r\n\n`],
    ['in part of a larger buffer', () => new Uint8Array(Buffer.concat([Buffer.alloc(7), png])).subarray(7)],
    ['as a buffer that is bare', () => new Uint8Array(png).buffer],
    ['as another view of bytes', () => new DataView(new Uint8Array(png).buffer)],
    ['as bytes of another realm', () => runInNewContext('Uint8Array.from(bytes)', { bytes: [...png] })],
    ['as a file', () => new File([new Uint8Array(png)], 'a.png')],
  ])('may come %s', async (_how, image) => {
    expect(await inspect(image())).toMatchObject({ kind: 'accepted', type: 'image/png', content: png });
  });

  it.each<[string, () => unknown, object]>([
    ['an empty text', () => '', { status: 400, reason: 'an empty file' }],
    ['no bytes', () => new Uint8Array(), { status: 400, reason: 'an empty file' }],
    ['nothing', () => undefined, { status: 400, reason: 'no image' }],
    ['null', () => null, { status: 400, reason: 'no image' }],
    ['a number', () => 5, { status: 400, reason: 'no image' }],
    ['a truth', () => true, { status: 400, reason: 'no image' }],
    ['an object', () => ({ image: 'x' }), { status: 400, reason: 'no image' }],
    ['a list', () => [[137, 80, 78, 71]], { status: 400, reason: 'no image' }],
    ['a list of texts', () => ['abc'], { status: 400, reason: 'no image' }],
    ['no base64', () => 'a photograph', { status: 400, reason: 'no base64' }],
    ['base64 in lines with a space', () => inLines('\n '), { status: 400, reason: 'no base64' }],
    ['base64 in lines of one', () => 'A\n'.repeat(500_000), { status: 400, reason: 'no base64' }],
    ['base64 with half a break', () => inLines('\r'), { status: 400, reason: 'no base64' }],
    ['too many lines', () => `A${'\n'.repeat(1_600_000)}`, { status: 413, part: 'file' }],
    ['base64 that is cut', () => png.toString('base64').slice(0, 41), { status: 400, reason: 'no base64' }],
    ['another data URL', () => `data:text/html;base64,${png.toString('base64')}`, { status: 400, reason: 'no base64' }],
    [
      'too many bytes',
      () => Buffer.concat([png, Buffer.alloc(1_048_577)]),
      { status: 413, part: 'file', limit: 1_048_576 },
    ],
    ['too much base64', () => 'A'.repeat(1_500_000), { status: 413, part: 'file' }],
    ['text', () => Buffer.from('<svg/>'), { status: 415, found: 'unknown' }],
    ['FF D8 FF', () => Buffer.from([0xff, 0xd8, 0xff]), { status: 422 }],
  ])('is not %s', async (_what, image, expected) => {
    expect(await problemOf(image())).toMatchObject(expected);
  });

  it('is a fault where a stream gives text: its bytes are lost', async () => {
    await expect(inspect(Readable.from(['abc']))).rejects.toThrow('streams of bytes');
  });

  it('may be as large in base64 as it may be otherwise', async () => {
    const large = imageInspector({ types: ['image/png'], maxBytes: '50mb' });
    const content = Buffer.concat([png, Buffer.alloc(50 * 1024 * 1024 - png.length)]);
    const text = content.toString('base64');
    expect(await large(text)).toMatchObject({ kind: 'accepted', width: 200 });
    expect(await large(text.replace(/.{76}/g, '$&\r\n'))).toMatchObject({ kind: 'accepted', width: 200 });
    expect(await problemOf(`${content.toString('base64').slice(0, -4)}!AAA`, large)).toMatchObject({ status: 400 });
    expect(await problemOf(Buffer.concat([content, png]).toString('base64'), large)).toMatchObject({ status: 413 });
  });

  it('in base64 is what Node writes, in lines or not, and nothing else', () =>
    fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.base64String(), fc.string({ unit: fc.constantFrom('A', '/', '+', '=', '-', '\n', '\r', ' ') })),
        async (text) => {
          const problem = await problemOf(text);
          const reason = problem !== undefined && 'reason' in problem ? problem.reason : undefined;
          const isBase64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(
            text.replaceAll('\r\n', '').replaceAll('\n', ''),
          );
          const breaks = text.split('\n').length - 1;
          expect(reason === 'no base64').toBe(!isBase64 || breaks > text.length / 32 + 16);
        },
      ),
    ));

  it.each<[string, () => AsyncIterable<Uint8Array>]>([
    ['a stream', () => Readable.from([png.subarray(0, 100), png.subarray(100)])],
    ['a stream of single bytes', () => Readable.from([...png].map((byte) => Uint8Array.of(byte)))],
    ['a web stream', () => new Blob([new Uint8Array(png)]).stream()],
    [
      'a generator',
      async function* () {
        yield new Uint8Array(png);
      },
    ],
  ])('may come in %s', async (_how, image) => {
    expect(await inspect(image())).toMatchObject({ kind: 'accepted', type: 'image/png', width: 200, content: png });
  });

  it('is not in a stream that goes on and on; the rest of it is thrown away', async () => {
    let given = 0;
    const endless = new Readable({
      read() {
        given += 65_536;
        this.push(given > 3_000_000 ? null : Buffer.alloc(65_536));
      },
    });
    expect(await problemOf(endless)).toMatchObject({ status: 413, part: 'file', limit: 1_048_576 });
    await expect.poll(() => endless.readableEnded).toBe(true);
    let asked = 0;
    const generator = async function* () {
      for (;;) {
        asked++;
        yield Buffer.alloc(65_536);
      }
    };
    expect(await problemOf(generator())).toMatchObject({ status: 413 });
    expect(asked).toBe(17);
    expect(await problemOf(Readable.from([]))).toMatchObject({ status: 400, reason: 'an empty file' });
  });

  it('is no refusal where its stream fails', async () => {
    const broken = new Readable({ read: () => undefined });
    const inspected = inspect(broken);
    broken.push(png.subarray(0, 50));
    broken.destroy(new Error('reset by the client'));
    await expect(inspected).rejects.toThrow('reset by the client');
  });

  it('is one page, where nothing else is said: no GIF of two frames', async () => {
    const gif = await noisy(20, 10, 2).gif().toBuffer();
    const still = imageInspector({ types: ['image/gif'], maxBytes: '1mb' });
    expect(await problemOf(gif, still)).toMatchObject({ status: 415, found: 'image/gif of 2 pages' });
  });

  it('has no more pixels than are taken', async () => {
    const large = await sharp({ create: { width: 400, height: 251, channels: 3, background: 'red' } })
      .png()
      .toBuffer();
    expect(await problemOf(large)).toMatchObject({ status: 413, part: 'pixels', limit: 100_000 });
  });
});

describe('decoding', () => {
  it('takes what is whole', async () => {
    for (const image of [png, jpeg]) expect((await decoding(image)).kind).toBe('accepted');
    for (const tail of ['PK\x03\x04zip', '<script>alert(1)</script>', '%PDF-1.7']) {
      expect((await decoding(Buffer.concat([jpeg, Buffer.from(tail)]))).kind).toBe('accepted');
    }
  });

  it.each([
    ['a JPEG that is cut short', () => jpeg.subarray(0, jpeg.length - 300)],
    ['a JPEG that is cut in half', () => jpeg.subarray(0, jpeg.length / 2)],
    ['a PNG that is cut short', () => png.subarray(0, png.length - 300)],
    ['a PNG with a byte changed', () => Buffer.from(png).fill(0x55, 800, 808)],
  ])('refuses %s, which its header does not show', async (_what, image) => {
    expect((await inspect(image())).kind).toBe('accepted');
    expect(await problemOf(image(), decoding)).toMatchObject({ status: 422, reason: 'it does not decode' });
  });

  it('refuses whatever sharp finds cut short by all its pixels, wherever it is cut', async () => {
    const every = imageInspector({
      types: ['image/png', 'image/jpeg', 'image/webp', 'image/gif', 'image/tiff'],
      maxBytes: '1mb',
      animated: true,
      decode: { sharp },
    });
    let refusals = 0;
    for (const whole of [
      await noisy(120, 90).png().toBuffer(),
      await noisy(120, 90).png({ progressive: true }).toBuffer(),
      await noisy(120, 90).jpeg().toBuffer(),
      await noisy(120, 90).jpeg({ progressive: true }).toBuffer(),
      await noisy(120, 90).webp().toBuffer(),
      await noisy(120, 30, 3).webp().toBuffer(),
      await noisy(120, 30, 3).gif().toBuffer(),
      await noisy(120, 30, 3).tiff().toBuffer(),
    ]) {
      for (let cut = 0; cut < whole.length - 200; cut += Math.ceil(whole.length / 40)) {
        const content = whole.subarray(0, whole.length - cut);
        const opens = await sharp(content, { failOn: 'error', pages: -1 })
          .stats()
          .then(
            () => true,
            () => false,
          );
        const taken = (await every(content)).kind === 'accepted';
        // A GIF or TIFF that is cut may have fewer pages, and be whole.
        if (taken) expect([cut, opens]).toEqual([cut, true]);
        else refusals++;
      }
    }
    expect(refusals).toBeGreaterThan(250);
  });

  it.each<[Partial<DecodeOptions>, number]>([
    [{ timeout: '1500ms' }, 2],
    [{ timeout: '500ms' }, 1],
    [{}, 10],
  ])('tells sharp its limits: %o comes to %d s', async (more, seconds) => {
    const told: unknown[] = [];
    const recording: SharpFunction = (input, options) => {
      told.push(options);
      const image = imageWhose(async () => undefined, 'jpeg')(input, options);
      return {
        ...image,
        timeout: (limit) => {
          told.push(limit);
          return image;
        },
      };
    };
    const recorded = imageInspector({
      types: ['image/jpeg'],
      maxBytes: '1mb',
      maxPixels: 30_000,
      decode: { sharp: recording, ...more },
    });
    expect(await recorded(jpeg)).toMatchObject({ kind: 'accepted' });
    expect(told).toEqual([{ limitInputPixels: 30_000, failOn: 'error', pages: 1, sequentialRead: true }, { seconds }]);
  });

  it('takes two at a time where nothing else is said, in the order in which they came', async () => {
    const begun: unknown[] = [];
    const decoded: (() => void)[] = [];
    const held: SharpFunction = (input, options) => {
      begun.push(input.at(-1));
      return imageWhose(() => new Promise<void>((resolve) => decoded.push(resolve)))(input, options);
    };
    const slow = imageInspector({ types: ['image/png'], maxBytes: '1mb', decode: { sharp: held } });
    const all = Promise.all([0, 1, 2, 3, 4].map((last) => slow(Buffer.concat([png, Buffer.of(last)]))));
    for (const now of [
      [0, 1],
      [0, 1, 2],
      [0, 1, 2, 3],
      [0, 1, 2, 3, 4],
    ]) {
      await expect.poll(() => decoded.length).toBe(now.length);
      expect(begun).toEqual(now);
      decoded[now.length - 2]?.();
    }
    decoded[4]?.();
    expect((await all).map(({ kind }) => kind)).toEqual(Array.from({ length: 5 }, () => 'accepted'));
  });

  it('leaves no listener on a signal behind', async () => {
    const { signal } = new AbortController();
    const one = imageInspector({ types: ['image/png'], maxBytes: '1mb', decode: { sharp, concurrency: 1 } });
    await Promise.all(Array.from({ length: 5 }, () => one(png, signal)));
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('keeps to its concurrency, and lets everybody have a turn', async () => {
    let now = 0;
    let most = 0;
    const slow = imageInspector({
      types: ['image/png'],
      maxBytes: '1mb',
      decode: {
        concurrency: 3,
        sharp: imageWhose(async () => {
          most = Math.max(most, ++now);
          await new Promise((turn) => setImmediate(turn));
          now--;
          throw new Error('broken');
        }),
      },
    });
    const kinds = await Promise.all(Array.from({ length: 20 }, async () => (await slow(png)).kind));
    expect([most, now, new Set(kinds)]).toEqual([3, 0, new Set(['refused'])]);
  });

  it('gives the turn of a client that has left to the next', async () => {
    const begun: (() => void)[] = [];
    const slow = imageInspector({
      types: ['image/png'],
      maxBytes: '1mb',
      decode: { concurrency: 1, sharp: imageWhose(() => new Promise((decoded) => begun.push(() => decoded({})))) },
    });
    const controllers = Array.from({ length: 4 }, () => new AbortController());
    const [first, second, third, fourth] = controllers.map(({ signal }) => slow(png, signal));
    await expect.poll(() => begun.length).toBe(1);
    controllers[1]?.abort();
    await expect(second).rejects.toMatchObject({ code: 'GATEWARDEN_UPLOAD_ABORTED' });
    controllers[2]?.abort();
    await expect(third).rejects.toBeInstanceOf(UploadError);
    begun[0]?.();
    expect((await first)?.kind).toBe('accepted');
    await expect.poll(() => begun.length).toBe(2);
    // Too late: it has its turn.
    controllers[3]?.abort();
    begun[1]?.();
    expect((await fourth)?.kind).toBe('accepted');
    await expect(slow(png, AbortSignal.abort())).rejects.toBeInstanceOf(UploadError);
    const last = slow(png);
    await expect.poll(() => begun.length).toBe(3);
    begun[2]?.();
    expect((await last).kind).toBe('accepted');
  });

  it('refuses what another loader than that of its type takes', async () => {
    let decoded = 0;
    const confused = imageInspector({
      types: ['image/png'],
      maxBytes: '1mb',
      decode: { sharp: imageWhose(async () => decoded++, 'svg') },
    });
    expect(await problemOf(png, confused)).toMatchObject({ status: 422, reason: 'it is two things at once' });
    expect(decoded).toBe(0);
  });

  it('is a fault, and not the fault of the image, where sharp reads none', async () => {
    const broken = imageInspector({
      types: ['image/png'],
      maxBytes: '1mb',
      decode: { sharp: (() => undefined) as unknown as SharpFunction },
    });
    await expect(broken(png)).rejects.toThrow('sharp cannot read any image/png');
  });

  it('tells a time-out from a broken file', async () => {
    const late = imageInspector({
      types: ['image/png'],
      maxBytes: '1mb',
      decode: { sharp: imageWhose(() => Promise.reject(new Error('timeout: 10% complete'))) },
    });
    expect(await problemOf(png, late)).toMatchObject({ status: 422, reason: 'it takes too long to decode' });
  });
});

describe('writing anew', () => {
  const cleaning = imageInspector({
    types: ['image/png', 'image/jpeg', 'image/webp', 'image/gif'],
    maxBytes: '1mb',
    animated: true,
    decode: { sharp, reencode: true },
  });
  const cleaned = async (image: Buffer) => {
    const inspected = await cleaning(image);
    if (inspected.kind === 'refused') throw new Error(inspected.problem.detail);
    return inspected;
  };

  it.each(['PK\x03\x04zip', '<script>alert(1)</script>', '%PDF-1.7'])(
    'leaves nothing of %j behind an image',
    async (tail) => {
      for (const image of [jpeg, png]) {
        const { content, type, width, height } = await cleaned(Buffer.concat([image, Buffer.from(tail)]));
        expect(content.includes(tail)).toBe(false);
        expect([type, width, height]).toEqual([image === jpeg ? 'image/jpeg' : 'image/png', 200, 150]);
        expect((await sharp(content).metadata()).width).toBe(200);
      }
    },
  );

  it('leaves no metadata, and puts the image upright', async () => {
    const turned = await sharp(jpeg)
      .withExif({ IFD0: { Copyright: 'somebody', Orientation: '6' } })
      .withMetadata({ orientation: 6 })
      .jpeg()
      .toBuffer();
    const { content, width, height } = await cleaned(turned);
    const metadata = await sharp(content).metadata();
    expect([width, height, metadata.exif, metadata.orientation]).toEqual([150, 200, undefined, undefined]);
    expect(content.includes('somebody')).toBe(false);
  });

  it('keeps the frames of an animation', async () => {
    const gif = await noisy(20, 10, 3).gif().toBuffer();
    expect(await cleaned(gif)).toMatchObject({ type: 'image/gif', width: 20, height: 10, pages: 3 });
  });

  it('still refuses what is not whole', async () => {
    expect(await problemOf(jpeg.subarray(0, jpeg.length - 300), cleaning)).toMatchObject({ status: 422 });
  });
});

describe('construction', () => {
  const files = { types: ['image/png'], maxBytes: '1mb' } as const;
  it.each<[string, object, string]>([
    ['no files', {}, 'files'],
    ['no types', { files: { maxBytes: 1 } }, 'types'],
    ['a type that is none', { files: { ...files, types: ['png'] } }, 'types'],
    ['a type of another name', { files: { ...files, types: ['image/png', 'image/jpg'] } }, "'image/jpg'"],
    ['a type that no content tells', { files: { ...files, types: ['text/csv'] } }, "'text/csv'"],
    ['a type that is told otherwise', { files: { ...files, types: ['image/apng'] } }, "'image/apng'"],
    ['no size', { files: { types: ['image/png'] } }, 'maxBytes'],
    ['a size that is none', { files: { ...files, maxBytes: 'large' } }, 'maxBytes'],
    ['no files at all', { files: { ...files, maxCount: 0 } }, 'maxCount'],
    ['more at least than at most', { files: { ...files, minCount: 2 } }, 'minCount'],
    ['no pixels', { files: { ...files, maxPixels: 0 } }, 'maxPixels'],
    ['an empty list of fields', { files: { ...files, fields: [] } }, 'fields'],
    ['a misspelt limit', { files: { ...files, maxSize: 5 } }, 'maxSize'],
    ['a misspelt limit of fields', { files, fields: { max: 5 } }, 'max'],
    ['a folder that is no path', { files, spool: { directory: 5 } }, 'folder'],
    ['a folder that is nowhere', { files, spool: { directory: '', memoryBytes: '2mb' } }, 'spool.directory'],
    [
      'a folder that is not there, for files that are written anew',
      { files, spool: { directory: '/not/there', memoryBytes: '1mb' }, decode: { sharp, reencode: true } },
      '/not/there',
    ],
    ['a folder that is not there', { files, spool: { directory: '/not/there', memoryBytes: 10 } }, '/not/there'],
    [
      'a folder that is a file',
      { files, spool: { directory: import.meta.filename, memoryBytes: 10 } },
      'spool.directory',
    ],
    ['no memory', { files, store: { memoryBytes: 0 } }, 'memoryBytes'],
    ['a decoder that is none', { files, decode: { sharp: true } }, 'decode.sharp'],
    ['decode without sharp', { files, decode: true }, 'decode'],
    ['blockOtherLoaders that is no boolean', { files, decode: { sharp, blockOtherLoaders: 1 } }, 'blockOtherLoaders'],
    [
      'loaders to block where they cannot be',
      { files, decode: { sharp: imageWhose(() => Promise.resolve()), blockOtherLoaders: true } },
      'blockOtherLoaders',
    ],
    ['a time-out of more than 5 min', { files, decode: { sharp, timeout: '6m' } }, 'decode.timeout'],
    ['more than 64 at a time', { files, decode: { sharp, concurrency: 65 } }, 'decode.concurrency'],
    ['reencode that is no boolean', { files, decode: { sharp, reencode: 1 } }, 'reencode'],
    ['a misspelt option', { files, limits: {} }, 'limits'],
  ])('of upload fails with %s', (_what, options, named) => {
    const act = () => upload(options as UploadOptions);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(named);
  });

  it('of upload asks for no folder where no file goes to one', () => {
    expect(() => upload({ files, spool: { directory: '/not/there', memoryBytes: '1mb' } })).not.toThrow();
  });

  it.each<[string, object, string]>([
    ['no types', { maxBytes: 1 }, 'types'],
    ['a type that it cannot read', { types: ['image/avif'], maxBytes: 1 }, 'types'],
    ['no size', { types: ['image/png'] }, 'maxBytes'],
    ['a misspelt option', { ...files, pixels: 5 }, 'pixels'],
  ])('of imageInspector fails with %s', (_what, options, named) => {
    const act = () => imageInspector(options as InspectImageOptions);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(named);
  });
});
