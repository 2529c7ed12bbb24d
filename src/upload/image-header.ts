import type { ByteSource } from './byte-source.js';
import { BrokenImage, type ImageFormat, type ImageHeader } from './formats/format.js';
import { GIF } from './formats/gif.js';
import { JPEG } from './formats/jpeg.js';
import { PNG } from './formats/png.js';
import { TIFF } from './formats/tiff.js';
import { WEBP } from './formats/webp.js';

/** The media types of the images whose headers can be read. */
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
 * Reads width, height and page count from an image's header. Nothing is decoded, and time and memory are bounded for
 * any content.
 * @throws BrokenImage
 */
export async function readImageHeader(type: ImageType, source: ByteSource): Promise<ImageHeader> {
  const { matches, read } = IMAGE_FORMATS[type];
  // Type detection skips leading marks such as ID3 tags and byte order marks. Image decoders do not.
  if (!matches((await source.read(0, 12)).toString('latin1'))) throw new BrokenImage('wrongSignature');
  const header = await read(source);
  if (header.width < 1 || header.height < 1 || header.pages < 1) throw new BrokenImage('zeroSize');
  return header;
}
