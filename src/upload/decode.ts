import { badOption, checkOptionNames, type Duration, milliseconds, positiveInteger } from '../option.js';
import { problem } from '../problem.js';
import type { ImageType } from './image-header.js';
import { UploadRefused } from './receive.js';

interface SharpImage {
  timeout(options: { readonly seconds: number }): SharpImage;
  rotate(): SharpImage;
  toFormat(format: 'png' | 'jpeg' | 'webp' | 'gif' | 'tiff'): SharpImage;
  stats(): Promise<unknown>;
  toBuffer(): Promise<Buffer>;
}

/** As much of the function that sharp exports as is used here. */
export type SharpFunction = (
  input: string | Buffer,
  options: {
    readonly limitInputPixels: number;
    readonly failOn: 'error';
    readonly pages: number;
    readonly sequentialRead: boolean;
  },
) => SharpImage;

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
}

/**
 * Decodes an image to its last row; gives it anew where that was asked for.
 * @throws UploadRefused where it does not decode, or not in time
 */
export type Decoder = (
  input: string | Buffer,
  type: ImageType,
  maxPixels: number,
  pages: number,
) => Promise<Buffer | undefined>;

const FORMATS = {
  'image/png': 'png',
  'image/jpeg': 'jpeg',
  'image/webp': 'webp',
  'image/gif': 'gif',
  'image/tiff': 'tiff',
} as const satisfies Readonly<Record<ImageType, string>>;

/** @throws OptionError */
export function imageDecoder(options: DecodeOptions): Decoder {
  checkOptionNames('upload "decode"', options, ['sharp', 'timeout', 'concurrency', 'reencode']);
  const { sharp, reencode = false } = options;
  if (typeof reencode !== 'boolean') throw badOption('upload', 'decode.reencode', 'must be true or false', reencode);
  if (typeof sharp !== 'function') {
    throw badOption('upload', 'decode.sharp', "must be what `import sharp from 'sharp'` gives", sharp);
  }
  // sharp counts in whole seconds.
  const seconds = Math.ceil(milliseconds('upload', 'decode.timeout', options.timeout ?? '10s', 300_000) / 1000);
  let free = positiveInteger('upload', 'decode.concurrency', options.concurrency ?? 2, 64);
  const waiting: (() => void)[] = [];

  async function turn(): Promise<void> {
    if (free > 0) free--;
    else await new Promise<void>((begin) => waiting.push(begin));
  }

  function done(): void {
    const next = waiting.shift();
    if (next === undefined) free++;
    else next();
  }

  return async (input, type, maxPixels, pages) => {
    await turn();
    try {
      const image = sharp(input, { limitInputPixels: maxPixels, failOn: 'error', pages, sequentialRead: true });
      const limited = image.timeout({ seconds });
      if (reencode) return await limited.rotate().toFormat(FORMATS[type]).toBuffer();
      // Statistics need every pixel; metadata alone would pass a file that is cut short.
      await limited.stats();
      return undefined;
    } catch (error) {
      const late = error instanceof Error && /timeout/i.test(error.message);
      const reason = late ? 'it takes too long to decode' : 'it does not decode';
      throw new UploadRefused(problem('upload-undecodable', { reason }));
    } finally {
      done();
    }
  };
}
