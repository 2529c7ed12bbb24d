import { type Duration, milliseconds } from '../core/duration.js';
import { badOption, boolean, checkOptionNames, type OptionNames, positiveInteger } from '../core/option.js';
import { DecodeQueue } from './decode-queue.js';
import type { ImageFormat } from './formats/format.js';
import { IMAGE_FORMATS, type ImageType, isImageType } from './image-header.js';
import { UploadError, undecodable } from './upload-error.js';

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

/** The part of sharp's default export that `decode` uses. */
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
  /** The default export of sharp: `import sharp from 'sharp'`. The service installs it and chooses the version. */
  readonly sharp: SharpFunction;
  /** How long decoding one image may take, rounded up to whole seconds. Default `'10s'`, at most `'5m'`. */
  readonly timeout?: Duration | undefined;
  /** How many images are decoded at the same time, at most 64. The others wait their turn. Default 2. */
  readonly concurrency?: number | undefined;
  /**
   * Replaces each image with a new one in the same format: upright, without metadata, and without any data appended to
   * the original. Default false, which leaves the content unchanged.
   */
  readonly reencode?: boolean | undefined;
  /**
   * Disables every libvips loader except those of the accepted image types. This applies to the whole process, so all
   * other code that uses sharp can read only these types, too. Default false: a file that another loader claims is
   * still refused, but only after that loader has read its header.
   */
  readonly blockOtherLoaders?: boolean | undefined;
}

const OPTIONS: OptionNames<DecodeOptions> = {
  sharp: true,
  timeout: true,
  concurrency: true,
  reencode: true,
  blockOtherLoaders: true,
};

/** The limits for decoding one image. */
export interface DecodeLimits {
  readonly type: ImageType;
  readonly maxPixels: number;
  readonly animated: boolean;
  /** Ends the wait in the queue. */
  readonly signal: AbortSignal | undefined;
}

/**
 * Decodes an image to its last row. Returns the new content if `reencode` is set.
 * @throws UploadError if the image does not decode, takes too long, or `signal` aborts while it waits in the queue
 * @throws Error if sharp cannot read any image of the type, which is a fault of the server
 */
export type Decoder = (input: string | Buffer, limits: DecodeLimits) => Promise<Buffer | undefined>;

/** Every sharp whose loaders are blocked. Guards add their loaders and never block those of another guard. */
const sharpsWithBlockedLoaders = new WeakSet<SharpFunction>();

/**
 * Creates the decoder for images of these types.
 * @throws OptionError
 */
export function imageDecoder(options: DecodeOptions, types: readonly string[]): Decoder {
  checkOptionNames('upload "decode"', options, OPTIONS);
  const { sharp } = options;
  const blockOtherLoaders = boolean('upload', 'decode.blockOtherLoaders', options.blockOtherLoaders ?? false);
  const reencode = boolean('upload', 'decode.reencode', options.reencode ?? false);
  if (typeof sharp !== 'function') {
    throw badOption(
      'upload',
      'decode.sharp',
      "must be the default export of sharp: `import sharp from 'sharp'`",
      sharp,
    );
  }
  allowLoaders(sharp, types.filter(isImageType), blockOtherLoaders);
  // sharp accepts only whole seconds.
  const seconds = Math.ceil(milliseconds('upload', 'decode.timeout', options.timeout ?? '10s', 300_000) / 1000);
  const queue = new DecodeQueue(positiveInteger('upload', 'decode.concurrency', options.concurrency ?? 2, 64));

  /** Throws if sharp cannot even read a valid image of the type: then the failure is not the client's. */
  async function readSample(type: ImageType): Promise<void> {
    try {
      const options = { limitInputPixels: 1, failOn: 'error', pages: 1, sequentialRead: true } as const;
      const image = sharp(IMAGE_FORMATS[type].sample, options).timeout({ seconds });
      await image.resize({ width: 1, height: 1, fit: 'fill' }).raw().toBuffer();
    } catch (error) {
      throw new Error(
        `gatewarden: sharp cannot read any ${type}; check its installation and whether the loader is blocked`,
        { cause: error },
      );
    }
  }

  return async (input, { type, maxPixels, animated, signal }) => {
    const { name: expected } = IMAGE_FORMATS[type];
    await queue.acquire(signal);
    try {
      const pages = animated ? -1 : 1;
      const image = sharp(input, { limitInputPixels: maxPixels, failOn: 'error', pages, sequentialRead: true });
      // libvips chooses a loader by its own rules. Only the loader of the detected type may read the pixels.
      const { format, height = 0, pageHeight = height } = await image.metadata();
      if (format !== expected) throw undecodable('ambiguous');
      const limited = image.timeout({ seconds });
      if (reencode) return await limited.rotate().toFormat(expected).toBuffer();
      // Reducing each row to one pixel reads every pixel with little memory. `metadata` would accept a truncated file,
      // and `stats` has no timeout.
      await limited.resize({ width: 1, height: pageHeight, fit: 'fill' }).raw().toBuffer();
      return undefined;
    } catch (error) {
      if (error instanceof UploadError) throw error;
      if (error instanceof Error && /timeout/i.test(error.message)) throw undecodable('decodeTimeout');
      await readSample(type);
      throw undecodable('corrupt');
    } finally {
      queue.release();
    }
  };
}

/**
 * Blocks all loaders on the first request to do so. From then on, every guard unblocks the loaders of its own types.
 */
function allowLoaders(sharp: SharpFunction, types: readonly ImageType[], blockOthers: boolean): void {
  if (blockOthers && !sharpsWithBlockedLoaders.has(sharp)) {
    if (sharp.block === undefined || sharp.unblock === undefined) {
      throw badOption(
        'upload',
        'decode.sharp',
        'must be a version of sharp with `block` and `unblock`, which `blockOtherLoaders` needs',
        sharp,
      );
    }
    sharp.block({ operation: ['VipsForeignLoad'] });
    sharpsWithBlockedLoaders.add(sharp);
  }
  if (sharpsWithBlockedLoaders.has(sharp)) {
    sharp.unblock?.({ operation: types.map((type) => IMAGE_FORMATS[type].loader) });
  }
}
