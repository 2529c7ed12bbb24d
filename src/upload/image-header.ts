import type { ByteSource } from './byte-source.js';
import { BrokenImage, type ImageFormat, type ImageHeader, type ImageStructure } from './formats/format.js';
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
 * Reads the structure of an image: its header, and what decoding it costs at most. Nothing is decoded, and time and
 * memory are bounded for any content.
 * @throws BrokenImage
 */
export async function readImageStructure(type: ImageType, source: ByteSource): Promise<ImageStructure> {
  const { matches, read } = IMAGE_FORMATS[type];
  // Type detection skips leading marks such as ID3 tags and byte order marks. Image decoders do not.
  if (!matches((await source.read(0, 12)).toString('latin1'))) throw new BrokenImage('wrongSignature');
  const structure = await read(source);
  if (structure.width < 1 || structure.height < 1 || structure.pages < 1) throw new BrokenImage('zeroSize');
  return structure;
}

/**
 * Reads width, height and page count of an image.
 * @throws BrokenImage
 */
export async function readImageHeader(type: ImageType, source: ByteSource): Promise<ImageHeader> {
  const { width, height, pages } = await readImageStructure(type, source);
  return { width, height, pages };
}
