import { problem } from '../core/problem.js';
import { type ByteSource, bufferSource } from './byte-source.js';
import type { Caller } from './caller.js';
import type { Decoder } from './decode.js';
import { BrokenImage, type ImageHeader } from './formats/format.js';
import { type ImageType, readImageHeader, readImageStructure } from './image-header.js';
import type { Limits } from './limits.js';
import { refused, tooLarge, undecodable } from './upload-error.js';

/** The content of an image, for the header reader and for the decoder. */
export interface ImageContent {
  readonly source: ByteSource;
  /** A path, or the bytes. */
  readonly input: string | Buffer;
}

/** Four samples of 16 bits. An image of fewer pixels may have more samples. */
const MAX_BYTES_PER_PIXEL = 8;

/** An image that passed the checks. */
export interface CheckedImage {
  readonly header: ImageHeader;
  /** The new content, if the decoder re-encodes. */
  readonly reencoded: Buffer | undefined;
}

/**
 * Checks an image against its limits: first by its header, then by decoding it if a decoder is given.
 * @throws UploadError
 */
export async function checkImage(
  type: ImageType,
  { source, input }: ImageContent,
  limits: Pick<Limits, 'types' | 'maxPixels' | 'animated'>,
  decode: Decoder | undefined,
  caller: Caller,
): Promise<CheckedImage> {
  const structure = await readImageStructure(type, source).catch((error: unknown) => {
    throw error instanceof BrokenImage ? undecodable(error.reason) : error;
  });
  const { width, height, pages, decodedBytes, heldBytes } = structure;
  if (pages > 1 && !limits.animated) {
    const found = `${type} of ${pages} pages`;
    throw refused(problem('upload-type-unsupported', { found, allowed: limits.types }));
  }
  const pixels = Math.max(width * height * pages, structure.pixels ?? 0);
  if (pixels > limits.maxPixels) throw tooLarge('pixels', limits.maxPixels);
  const maxDecodedBytes = limits.maxPixels * MAX_BYTES_PER_PIXEL;
  if (decodedBytes > maxDecodedBytes) throw tooLarge('decoded', maxDecodedBytes);
  const header = { width, height, pages };
  const { maxPixels, animated } = limits;
  const reencoded = await decode?.(input, { type, maxPixels, animated, heldBytes, caller });
  if (reencoded === undefined) return { header, reencoded };
  // Turning an image upright can swap its width and height.
  return { header: await readImageHeader(type, bufferSource(reencoded)), reencoded };
}
