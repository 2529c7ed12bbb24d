import type { ByteSource } from '../byte-source.js';

/** What an image says of itself before anything is decoded. */
export interface ImageHeader {
  /** Of the largest page. */
  readonly width: number;
  readonly height: number;
  /** Frames of an animation, pages of a document: 1 for a plain image. Counted up to `MAX_PAGES`. */
  readonly pages: number;
}

/** A format of images whose headers can be read. */
export interface ImageFormat {
  /** What sharp calls it. */
  readonly name: 'png' | 'jpeg' | 'webp' | 'gif' | 'tiff';
  /** What libvips calls the class of its loaders. */
  readonly loader: string;
  /** Whether a file may begin so: its first bytes, as latin1. */
  readonly begins: (head: string) => boolean;
  /** @throws BrokenImage */
  readonly read: (source: ByteSource) => Promise<ImageHeader>;
  /** A whole image of one pixel: where a decoder cannot read it, it can read none. */
  readonly sample: Buffer;
}

/** More than anybody may allow; whoever has so many has too many. */
export const MAX_PAGES = 10_000;
/** Chunks, segments and frames that are passed over on the way. */
export const MAX_STEPS = 100_000;

/** The header says nothing that could be an image. */
export class BrokenImage extends Error {}

/** @throws BrokenImage where there are fewer */
export async function bytesAt(source: ByteSource, offset: number, length: number): Promise<Buffer> {
  const bytes = await source.read(offset, length);
  if (bytes.length < length) throw new BrokenImage('it ends too early');
  return bytes;
}
