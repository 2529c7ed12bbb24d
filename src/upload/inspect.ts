import { problem } from '../core/problem.js';
import { type ByteSource, bufferSource } from './byte-source.js';
import type { Decoder } from './decode.js';
import { BrokenImage, type ImageHeader } from './formats/format.js';
import { type ImageType, readImageHeader } from './image-header.js';
import type { Limits } from './limits.js';
import { refused, tooLarge } from './upload-error.js';

/** Content that can be looked into, and decoded from where it is. */
export interface Inspected {
  readonly source: ByteSource;
  /** A path, or the bytes. */
  readonly input: string | Buffer;
}

/** What an image turned out to be, and its content where it was written anew. */
export interface Inspection {
  readonly header: ImageHeader;
  readonly anew: Buffer | undefined;
}

/**
 * Holds an image to its limits: by its header first, and then, where that is asked for, by decoding it.
 * @throws UploadError
 */
export async function inspect(
  type: ImageType,
  content: Inspected,
  limits: Pick<Limits, 'types' | 'maxPixels' | 'animated'>,
  decode: Decoder | undefined,
  signal: AbortSignal | undefined,
): Promise<Inspection> {
  const header = await readImageHeader(type, content.source).catch((error: unknown) => {
    throw error instanceof BrokenImage ? refused(problem('upload-undecodable', { reason: error.message })) : error;
  });
  const { width, height, pages } = header;
  if (pages > 1 && !limits.animated) {
    const found = `${type} of ${pages} pages`;
    throw refused(problem('upload-type-unsupported', { found, allowed: limits.types }));
  }
  if (width * height * pages > limits.maxPixels) {
    throw tooLarge('pixels', limits.maxPixels);
  }
  const anew = await decode?.(content.input, { type, ...limits, signal });
  // Upright, it may be as wide as it was high.
  return anew === undefined ? { header, anew } : { header: await readImageHeader(type, bufferSource(anew)), anew };
}
