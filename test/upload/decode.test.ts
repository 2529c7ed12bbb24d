import { getEventListeners } from 'node:events';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { type DecodeOptions, imageInspector, type SharpFunction, UploadError } from '../../src/upload/index.js';
import { noiseImage } from './fixture.js';
import { sharpWith } from './sharp-stand-in.js';

const CORRUPT = 'the image data is corrupt or incomplete';

const png = await noiseImage(200, 150).png().toBuffer();
const jpeg = await noiseImage(200, 150).jpeg().toBuffer();
const inspectHeader = imageInspector({ types: ['image/png', 'image/jpeg'], maxBytes: '1mb' });
const inspect = imageInspector({ types: ['image/png', 'image/jpeg'], maxBytes: '1mb', decode: { sharp } });
const problemOf = async (image: unknown, inspector = inspect) => {
  const inspected = await inspector(image);
  return inspected.kind === 'refused' ? inspected.problem : undefined;
};

describe('decode', () => {
  it('accepts complete images, also with data appended', async () => {
    for (const image of [png, jpeg]) expect((await inspect(image)).kind).toBe('accepted');
    for (const tail of ['PK\x03\x04zip', '<script>alert(1)</script>', '%PDF-1.7']) {
      expect((await inspect(Buffer.concat([jpeg, Buffer.from(tail)]))).kind).toBe('accepted');
    }
  });

  it.each([
    ['a truncated JPEG', () => jpeg.subarray(0, jpeg.length - 300)],
    ['half a JPEG', () => jpeg.subarray(0, jpeg.length / 2)],
    ['a truncated PNG', () => png.subarray(0, png.length - 300)],
    ['a PNG with bytes changed', () => Buffer.from(png).fill(0x55, 800, 808)],
  ])('refuses %s, although its header is valid', async (_what, image) => {
    expect((await inspectHeader(image())).kind).toBe('accepted');
    expect(await problemOf(image())).toMatchObject({ status: 422, reason: CORRUPT });
  });

  it('accepts no truncated image that sharp cannot read to the end, wherever it is truncated', async () => {
    const inspectAny = imageInspector({
      types: ['image/png', 'image/jpeg', 'image/webp', 'image/gif', 'image/tiff'],
      maxBytes: '1mb',
      animated: true,
      decode: { sharp },
    });
    let refusals = 0;
    for (const whole of [
      await noiseImage(120, 90).png().toBuffer(),
      await noiseImage(120, 90).png({ progressive: true }).toBuffer(),
      await noiseImage(120, 90).jpeg().toBuffer(),
      await noiseImage(120, 90).jpeg({ progressive: true }).toBuffer(),
      await noiseImage(120, 90).webp().toBuffer(),
      await noiseImage(120, 30, 3).webp().toBuffer(),
      await noiseImage(120, 30, 3).gif().toBuffer(),
      await noiseImage(120, 30, 3).tiff().toBuffer(),
    ]) {
      for (let cut = 0; cut < whole.length - 200; cut += Math.ceil(whole.length / 40)) {
        const content = whole.subarray(0, whole.length - cut);
        const readable = await sharp(content, { failOn: 'error', pages: -1 })
          .stats()
          .then(
            () => true,
            () => false,
          );
        const accepted = (await inspectAny(content)).kind === 'accepted';
        // A truncated GIF or TIFF can be a complete image with fewer pages.
        if (accepted) expect([cut, readable]).toEqual([cut, true]);
        else refusals++;
      }
    }
    expect(refusals).toBeGreaterThan(250);
  });

  it.each<[Partial<DecodeOptions>, number]>([
    [{ timeout: '1500ms' }, 2],
    [{ timeout: '500ms' }, 1],
    [{}, 10],
  ])('passes its limits to sharp: %o becomes %d s', async (more, seconds) => {
    const calls: unknown[] = [];
    const recording: SharpFunction = (input, options) => {
      calls.push(options);
      const image = sharpWith(async () => undefined, 'jpeg')(input, options);
      return {
        ...image,
        timeout: (limit) => {
          calls.push(limit);
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
    expect(calls).toEqual([{ limitInputPixels: 30_000, failOn: 'error', pages: 1, sequentialRead: true }, { seconds }]);
  });

  it('decodes two images at a time by default, in order of arrival', async () => {
    const started: unknown[] = [];
    const finish: (() => void)[] = [];
    const holding: SharpFunction = (input, options) => {
      started.push(input.at(-1));
      return sharpWith(() => new Promise<void>((resolve) => finish.push(resolve)))(input, options);
    };
    const slow = imageInspector({ types: ['image/png'], maxBytes: '1mb', decode: { sharp: holding } });
    const all = Promise.all([0, 1, 2, 3, 4].map((last) => slow(Buffer.concat([png, Buffer.of(last)]))));
    for (const expected of [
      [0, 1],
      [0, 1, 2],
      [0, 1, 2, 3],
      [0, 1, 2, 3, 4],
    ]) {
      await expect.poll(() => finish.length).toBe(expected.length);
      expect(started).toEqual(expected);
      finish[expected.length - 2]?.();
    }
    finish[4]?.();
    expect((await all).map(({ kind }) => kind)).toEqual(Array.from({ length: 5 }, () => 'accepted'));
  });

  it('removes its listeners from the signal', async () => {
    const { signal } = new AbortController();
    const one = imageInspector({ types: ['image/png'], maxBytes: '1mb', decode: { sharp, concurrency: 1 } });
    await Promise.all(Array.from({ length: 5 }, () => one(png, signal)));
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('never exceeds its concurrency, and decodes every image', async () => {
    let now = 0;
    let most = 0;
    const slow = imageInspector({
      types: ['image/png'],
      maxBytes: '1mb',
      decode: {
        concurrency: 3,
        sharp: sharpWith(async () => {
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

  it('skips a waiting image if its signal aborts', async () => {
    const finish: (() => void)[] = [];
    const slow = imageInspector({
      types: ['image/png'],
      maxBytes: '1mb',
      decode: { concurrency: 1, sharp: sharpWith(() => new Promise((decoded) => finish.push(() => decoded({})))) },
    });
    const controllers = Array.from({ length: 4 }, () => new AbortController());
    const [first, second, third, fourth] = controllers.map(({ signal }) => slow(png, signal));
    await expect.poll(() => finish.length).toBe(1);
    controllers[1]?.abort();
    await expect(second).rejects.toMatchObject({ code: 'GATEWARDEN_UPLOAD_ABORTED' });
    controllers[2]?.abort();
    await expect(third).rejects.toBeInstanceOf(UploadError);
    finish[0]?.();
    expect((await first)?.kind).toBe('accepted');
    await expect.poll(() => finish.length).toBe(2);
    // It is being decoded already.
    controllers[3]?.abort();
    finish[1]?.();
    expect((await fourth)?.kind).toBe('accepted');
    await expect(slow(png, AbortSignal.abort())).rejects.toBeInstanceOf(UploadError);
    const last = slow(png);
    await expect.poll(() => finish.length).toBe(3);
    finish[2]?.();
    expect((await last).kind).toBe('accepted');
  });

  it('refuses a file that the loader of another format claims', async () => {
    let decoded = 0;
    const confused = imageInspector({
      types: ['image/png'],
      maxBytes: '1mb',
      decode: { sharp: sharpWith(async () => decoded++, 'svg') },
    });
    expect(await problemOf(png, confused)).toMatchObject({
      status: 422,
      reason: 'the file can be read as more than one format',
    });
    expect(decoded).toBe(0);
  });

  it('throws, and does not blame the image, if sharp cannot read any', async () => {
    const broken = imageInspector({
      types: ['image/png'],
      maxBytes: '1mb',
      decode: { sharp: (() => undefined) as unknown as SharpFunction },
    });
    await expect(broken(png)).rejects.toThrow('sharp cannot read any image/png');
  });

  it('distinguishes a timeout from a corrupt file', async () => {
    const late = imageInspector({
      types: ['image/png'],
      maxBytes: '1mb',
      decode: { sharp: sharpWith(() => Promise.reject(new Error('timeout: 10% complete'))) },
    });
    expect(await problemOf(png, late)).toMatchObject({ status: 422, reason: 'decoding took too long' });
  });
});

describe('reencode', () => {
  const reencode = imageInspector({
    types: ['image/png', 'image/jpeg', 'image/webp', 'image/gif'],
    maxBytes: '1mb',
    animated: true,
    decode: { sharp, reencode: true },
  });
  const reencoded = async (image: Buffer) => {
    const inspected = await reencode(image);
    if (inspected.kind === 'refused') throw new Error(inspected.problem.detail);
    return inspected;
  };

  it.each(['PK\x03\x04zip', '<script>alert(1)</script>', '%PDF-1.7'])(
    'removes %j appended to an image',
    async (tail) => {
      for (const image of [jpeg, png]) {
        const { content, type, width, height } = await reencoded(Buffer.concat([image, Buffer.from(tail)]));
        expect(content.includes(tail)).toBe(false);
        expect([type, width, height]).toEqual([image === jpeg ? 'image/jpeg' : 'image/png', 200, 150]);
        expect((await sharp(content).metadata()).width).toBe(200);
      }
    },
  );

  it('removes metadata, and turns the image upright', async () => {
    const turned = await sharp(jpeg)
      .withExif({ IFD0: { Copyright: 'the photographer', Orientation: '6' } })
      .withMetadata({ orientation: 6 })
      .jpeg()
      .toBuffer();
    const { content, width, height } = await reencoded(turned);
    const metadata = await sharp(content).metadata();
    expect([width, height, metadata.exif, metadata.orientation]).toEqual([150, 200, undefined, undefined]);
    expect(content.includes('the photographer')).toBe(false);
  });

  it('keeps all frames of an animation', async () => {
    const gif = await noiseImage(20, 10, 3).gif().toBuffer();
    expect(await reencoded(gif)).toMatchObject({ type: 'image/gif', width: 20, height: 10, pages: 3 });
  });

  it('refuses an incomplete image', async () => {
    expect(await problemOf(jpeg.subarray(0, jpeg.length - 300), reencode)).toMatchObject({ status: 422 });
  });
});
