import type { ByteSource } from './byte-source.js';
import { BrokenImage, type ImageFormat, type ImageHeader } from './formats/format.js';
import { GIF } from './formats/gif.js';
import { JPEG } from './formats/jpeg.js';
import { PNG } from './formats/png.js';
import { TIFF } from './formats/tiff.js';
import { WEBP } from './formats/webp.js';

/** Media types of the images whose headers can be read. */
export type ImageType = 'image/png' | 'image/jpeg' | 'image/webp' | 'image/gif' | 'image/tiff';

export const IMAGE_FORMATS: Readonly<Record<ImageType, ImageFormat>> = {
  'image/png': PNG,
  'image/jpeg': JPEG,
  'image/webp': WEBP,
  'image/gif': GIF,
  'image/tiff': TIFF,
};

export function isImageType(type: string): type is ImageType {
  return Object.hasOwn(IMAGE_FORMATS, type);
}

/**
 * Reads width, height and pages from an image's header, whatever its file is like: few bytes at a time, in bounded time,
 * and nothing is decoded.
 * @throws BrokenImage
 */
export async function readImageHeader(type: ImageType, source: ByteSource): Promise<ImageHeader> {
  const { begins, read } = IMAGE_FORMATS[type];
  // What tells types looks behind marks at the beginning that decoders of images do not know.
  if (!begins((await source.read(0, 12)).toString('latin1'))) throw new BrokenImage('it does not begin as one');
  const header = await read(source);
  if (header.width < 1 || header.height < 1 || header.pages < 1) throw new BrokenImage('it has no size');
  return header;
}
