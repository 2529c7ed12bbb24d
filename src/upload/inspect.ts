import { problem } from '../problem.js';
import { type ByteSource, bufferSource } from './byte-source.js';
import type { Decoder } from './decode.js';
import { BrokenImage, type ImageHeader, type ImageType, readImageHeader } from './image-header.js';
import type { Limits } from './limits.js';
import { UploadRefused } from './receive.js';

/** Content that can be looked into, and decoded from where it is. */
export interface Inspected {
  withSource<T>(read: (source: ByteSource) => Promise<T>): Promise<T>;
  /** A path, or the bytes. */
  input(): Promise<string | Buffer>;
}

/** What an image turned out to be, and its content where it was written anew. */
export interface Inspection {
  readonly header: ImageHeader;
  readonly anew: Buffer | undefined;
}

/**
 * Holds an image to its limits: by its header first, and then, where that is asked for, by decoding it.
 * @throws UploadRefused
 */
export async function inspect(
  type: ImageType,
  content: Inspected,
  limits: Pick<Limits, 'types' | 'maxPixels' | 'animated'>,
  decode: Decoder | undefined,
): Promise<Inspection> {
  const header = await content
    .withSource((source) => readImageHeader(type, source))
    .catch((error: unknown) => {
      if (error instanceof BrokenImage)
        throw new UploadRefused(problem('upload-undecodable', { reason: error.message }));
      throw error;
    });
  const { width, height, pages } = header;
  if (pages > 1 && !limits.animated) {
    const found = `${type} of ${pages} pages`;
    throw new UploadRefused(problem('upload-type-unsupported', { found, allowed: limits.types }));
  }
  if (width * height * pages > limits.maxPixels) {
    throw new UploadRefused(problem('upload-too-large', { part: 'pixels', limit: limits.maxPixels }));
  }
  const anew = await decode?.(await content.input(), type, limits.maxPixels, limits.animated ? -1 : 1);
  // Upright, it may be as wide as it was high.
  return anew === undefined ? { header, anew } : { header: await readImageHeader(type, bufferSource(anew)), anew };
}
