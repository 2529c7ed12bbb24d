import { type Duration, milliseconds } from '../core/duration.js';
import { badOption, checkOptionNames, positiveInteger } from '../core/option.js';
import { problem } from '../core/problem.js';
import type { ImageFormat } from './formats/format.js';
import { IMAGE_FORMATS, type ImageType, isImageType } from './image-header.js';
import { aborted, refused, UploadError } from './upload-error.js';

interface SharpImage {
  timeout(options: { readonly seconds: number }): SharpImage;
  rotate(): SharpImage;
  toFormat(format: ImageFormat['name']): SharpImage;
  metadata(): Promise<{
    readonly format?: string | undefined;
    readonly height?: number | undefined;
    readonly pageHeight?: number | undefined;
  }>;
  resize(options: { readonly width: 1; readonly height: number; readonly fit: 'fill' }): SharpImage;
  raw(): SharpImage;
  toBuffer(): Promise<Buffer>;
}

/** As much of the function that sharp exports as is used here. */
export interface SharpFunction {
  (
    input: string | Buffer,
    options: {
      readonly limitInputPixels: number;
      readonly failOn: 'error';
      readonly pages: number;
      readonly sequentialRead: boolean;
    },
  ): SharpImage;
  block?(options: { readonly operation: string[] }): void;
  unblock?(options: { readonly operation: string[] }): void;
}

/** How images are decoded. */
export interface DecodeOptions {
  /** What `import sharp from 'sharp'` gives: the service has it, and its version. */
  readonly sharp: SharpFunction;
  /** How long one image may take. Default 10 s, at most 5 min. */
  readonly timeout?: Duration;
  /** How many are decoded at the same time; others wait. Default 2. */
  readonly concurrency?: number;
  /**
   * Writes the image anew, in its own format: upright, without metadata, and without whatever stood behind it. Default
   * false: it is only looked at.
   */
  readonly reencode?: boolean;
  /**
   * Switches off all loaders of libvips but those of the images that are taken. For the whole process, as libvips knows no
   * other way: whatever else uses sharp there reads only these, too. Default false; what is not of the type found is refused
   * either way, but only after its loader has looked at its header.
   */
  readonly blockOtherLoaders?: boolean;
}

/** What is to be decoded, and how much of it at most. */
export interface Decoding {
  readonly type: ImageType;
  readonly maxPixels: number;
  readonly animated: boolean;
  /** Ends the wait for a turn. */
  readonly signal: AbortSignal | undefined;
}

/**
 * Decodes an image to its last row; gives it anew where that was asked for.
 * @throws UploadError where it does not decode, or not in time, or its turn has not come when the signal says to stop;
 *   an ordinary error where sharp reads no image of the type at all, which is not the client's fault
 */
export type Decoder = (input: string | Buffer, decoding: Decoding) => Promise<Buffer | undefined>;

/** Where loaders have been switched off: what one guard needs, another must not switch off again. */
const restricted = new WeakSet<SharpFunction>();

/**
 * For images of these types.
 * @throws OptionError
 */
export function imageDecoder(options: DecodeOptions, types: readonly string[]): Decoder {
  checkOptionNames('upload "decode"', options, ['sharp', 'timeout', 'concurrency', 'reencode', 'blockOtherLoaders']);
  const { sharp, reencode = false, blockOtherLoaders = false } = options;
  if (typeof blockOtherLoaders !== 'boolean') {
    throw badOption('upload', 'decode.blockOtherLoaders', 'must be true or false', blockOtherLoaders);
  }
  if (typeof reencode !== 'boolean') throw badOption('upload', 'decode.reencode', 'must be true or false', reencode);
  if (typeof sharp !== 'function') {
    throw badOption('upload', 'decode.sharp', "must be what `import sharp from 'sharp'` gives", sharp);
  }
  if (blockOtherLoaders && !restricted.has(sharp)) {
    if (sharp.block === undefined || sharp.unblock === undefined) {
      throw badOption(
        'upload',
        'decode.sharp',
        'must be a version with `block` and `unblock` for `blockOtherLoaders`',
        sharp,
      );
    }
    sharp.block({ operation: ['VipsForeignLoad'] });
    restricted.add(sharp);
  }
  if (restricted.has(sharp))
    sharp.unblock?.({ operation: types.filter(isImageType).map((type) => IMAGE_FORMATS[type].loader) });
  // sharp counts in whole seconds.
  const seconds = Math.ceil(milliseconds('upload', 'decode.timeout', options.timeout ?? '10s', 300_000) / 1000);
  let free = positiveInteger('upload', 'decode.concurrency', options.concurrency ?? 2, 64);
  /** In the order in which they came. */
  const waiting = new Set<() => void>();

  function turn(signal: AbortSignal | undefined): Promise<void> | undefined {
    if (signal?.aborted === true) throw aborted(signal.reason);
    if (free > 0) {
      free--;
      return undefined;
    }
    return new Promise((resolve, reject) => {
      const begin = () => {
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        waiting.delete(begin);
        reject(aborted(signal?.reason));
      };
      waiting.add(begin);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }

  function done(): void {
    const [next] = waiting;
    if (next === undefined) {
      free++;
      return;
    }
    waiting.delete(next);
    next();
  }

  /** Whose fault it was: an image of the type that is whole tells. */
  async function readSample(type: ImageType): Promise<void> {
    try {
      const options = { limitInputPixels: 1, failOn: 'error', pages: 1, sequentialRead: true } as const;
      const image = sharp(IMAGE_FORMATS[type].sample, options).timeout({ seconds });
      await image.resize({ width: 1, height: 1, fit: 'fill' }).raw().toBuffer();
    } catch (error) {
      throw new Error(`gatewarden: sharp cannot read any ${type} here`, { cause: error });
    }
  }

  return async (input, { type, maxPixels, animated, signal }) => {
    const { name: expected } = IMAGE_FORMATS[type];
    await turn(signal);
    try {
      const pages = animated ? -1 : 1;
      const image = sharp(input, { limitInputPixels: maxPixels, failOn: 'error', pages, sequentialRead: true });
      // libvips chooses among its loaders by rules of its own: none but that of the type found may get to the pixels.
      const { format, height = 0, pageHeight = height } = await image.metadata();
      if (format !== expected) throw refused(problem('upload-undecodable', { reason: 'it is two things at once' }));
      const limited = image.timeout({ seconds });
      if (reencode) return await limited.rotate().toFormat(expected).toBuffer();
      // A column of mean colors needs every pixel, row by row, and little memory; metadata alone would pass a file that is
      // cut short, and statistics would know no time limit.
      await limited.resize({ width: 1, height: pageHeight, fit: 'fill' }).raw().toBuffer();
      return undefined;
    } catch (error) {
      if (error instanceof UploadError) throw error;
      const late = error instanceof Error && /timeout/i.test(error.message);
      if (!late) await readSample(type);
      const reason = late ? 'it takes too long to decode' : 'it does not decode';
      throw refused(problem('upload-undecodable', { reason }));
    } finally {
      done();
    }
  };
}
