import { createRequire } from 'node:module';
import { join } from 'node:path';
import { type Duration, milliseconds } from '../core/duration.js';
import { badOption, boolean, checkOptionNames, type OptionNames, positiveInteger } from '../core/option.js';
import { bytes, type Size } from '../core/size.js';
import { withTimeout } from '../core/with-timeout.js';
import type { Caller } from './caller.js';
import { type DecodeJob, type DecodeResult, decodeImage } from './decode-image.js';
import { DecodeQueue } from './decode-queue.js';
import { decodeInProcess } from './decoder-process.js';
import { IMAGE_FORMATS, type ImageType, isImageType } from './image-header.js';
import type { SharpFunction } from './sharp-function.js';
import { aborted, tooLarge, undecodable } from './upload-error.js';

/** How images are decoded. */
export interface DecodeOptions {
  /** The default export of sharp: `import sharp from 'sharp'`. The service installs it and chooses the version. */
  readonly sharp: SharpFunction;
  /** How long decoding one image may take. Default `'10s'`, at most `'5m'`. */
  readonly timeout?: Duration | undefined;
  /** How many images are decoded at the same time, at most 64. The others wait; clients take turns. Default 2. */
  readonly concurrency?: number | undefined;
  /**
   * Replaces each image with a new one in the same format: upright, without metadata, and without any data appended to
   * the original. Default false, which leaves the content unchanged.
   */
  readonly reencode?: boolean | undefined;
  /**
   * How much memory decoding one image may take. An image that needs more, by its header or while it is decoded, is
   * refused. Default `'256mb'`.
   */
  readonly memoryBytes?: Size | undefined;
  /**
   * Decodes in processes of their own, `concurrency` at most, which are ended after 30 idle seconds. Such a process can
   * be stopped when its time or memory is used up or the client leaves, and hostile data does not reach the service. Default true if sharp
   * was loaded from a module of its own. False decodes in this process: an image that sharp cannot interrupt then uses
   * a thread beyond `timeout`.
   */
  readonly separateProcess?: boolean | undefined;
  /**
   * Disables every libvips loader except those of the accepted image types. This applies to the whole process, so all
   * other code that uses sharp can read only these types, too. Default false: decoder processes block other loaders
   * anyway, and in this process a file that another loader claims is refused after that loader has read its header.
   */
  readonly blockOtherLoaders?: boolean;
}

const OPTIONS: OptionNames<DecodeOptions> = {
  sharp: true,
  timeout: true,
  concurrency: true,
  reencode: true,
  memoryBytes: true,
  separateProcess: true,
  blockOtherLoaders: true,
};

/** The pipeline of libvips itself. */
const PIPELINE_BYTES = 8 * 1024 * 1024;
/** sharp can stop by itself until then. */
const GRACE_MS = 500;

/** The limits for decoding one image. */
export interface DecodeLimits {
  readonly type: ImageType;
  readonly maxPixels: number;
  readonly animated: boolean;
  /** What the decoder holds at the same time, by the header. */
  readonly heldBytes: number;
  readonly caller: Caller;
}

/**
 * Decodes an image to its last row. Returns the new content if `reencode` is set.
 * @throws UploadError if the image does not decode, takes too much, or `signal` aborts
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
  const ms = milliseconds('upload', 'decode.timeout', options.timeout ?? '10s', 300_000);
  const maxBytes = bytes('upload', 'decode.memoryBytes', options.memoryBytes ?? '256mb', 2 ** 40);
  const separate = boolean('upload', 'decode.separateProcess', options.separateProcess ?? true);
  const sharpPath = separate ? modulePathOf(sharp) : undefined;
  if (sharpPath === undefined && options.separateProcess === true) {
    const rule = 'must be loaded by Node.js from a module of its own, not bundled or wrapped, for `separateProcess`';
    throw badOption('upload', 'decode.sharp', rule, sharp);
  }
  const queue = new DecodeQueue(positiveInteger('upload', 'decode.concurrency', options.concurrency ?? 2, 64));

  const decodeHere = (job: DecodeJob) =>
    withTimeout<DecodeResult | 'timeout'>(decodeImage(sharp, job), ms + GRACE_MS, () => new TimeOver()).catch(
      (error: unknown) => {
        if (error instanceof TimeOver) return 'timeout' as const;
        throw error;
      },
    );
  const decode =
    sharpPath === undefined
      ? decodeHere
      : (job: DecodeJob, signal: AbortSignal | undefined) => decodeInProcess(sharpPath, job, ms, signal);

  return async (input, { type, maxPixels, animated, heldBytes, caller }) => {
    if (heldBytes + PIPELINE_BYTES > maxBytes) throw tooLarge('decoded', maxBytes);
    const { name: format, loader, sample } = IMAGE_FORMATS[type];
    // sharp accepts only whole seconds.
    const timeoutSeconds = Math.ceil(ms / 1000);
    await queue.acquire(caller);
    try {
      const job = { input, format, loader, sample, maxPixels, animated, reencode, timeoutSeconds, maxBytes };
      const result = await decode(job, caller.signal);
      if (result === 'aborted') throw aborted(caller.signal?.reason);
      return newContent(result, type, maxBytes);
    } finally {
      queue.release(caller);
    }
  };
}

class TimeOver extends Error {}

/** @throws UploadError if the image is refused, or an Error if sharp is at fault */
function newContent(
  result: DecodeResult | 'timeout' | 'memory' | 'crash',
  type: ImageType,
  maxBytes: number,
): Buffer | undefined {
  if (result === 'memory') throw tooLarge('decoded', maxBytes);
  if (result === 'timeout') throw undecodable('decodeTimeout');
  if (result === 'crash') throw undecodable('decoderCrash');
  if (result.kind === 'refused') throw undecodable(result.reason);
  if (result.kind === 'fault') {
    throw new Error(
      `gatewarden: sharp cannot read any ${type}; check its installation and whether the loader is blocked`,
      { cause: new Error(result.message) },
    );
  }
  const { reencoded } = result;
  return reencoded && Buffer.from(reencoded.buffer, reencoded.byteOffset, reencoded.byteLength);
}

/** The file from which this sharp was loaded. Undefined for a function that only wraps it. */
function modulePathOf(sharp: SharpFunction): string | undefined {
  const { cache } = createRequire(join(process.cwd(), 'index.js'));
  return Object.values(cache).find((module) => module?.exports === sharp)?.filename;
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
