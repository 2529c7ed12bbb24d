import type { ByteSource } from '../byte-source.js';
import { type UndecodableReason, UPLOAD_REASONS } from '../reasons.js';

/** What the header of an image declares. Nothing has been decoded. */
export interface ImageHeader {
  /** In pixels. If pages differ in size, the largest width of any page. */
  readonly width: number;
  /** In pixels. If pages differ in size, the largest height of any page. */
  readonly height: number;
  /** Frames of an animation or pages of a document; 1 for a plain image. Counting stops at 10,000. */
  readonly pages: number;
}

/** What reading the structure of an image finds: its header, and what decoding it costs at most. */
export interface ImageStructure extends ImageHeader {
  /**
   * Pixels of all pages that a decoder may have to produce. Differs from width x height x pages only if decoders
   * disagree about the size.
   */
  readonly pixels?: number;
  /** Bytes of all decoded pages, by the number and depth of the samples of a pixel. */
  readonly decodedBytes: number;
  /** Bytes that the decoder of libvips holds at the same time. Rows that it reads one after another are not held. */
  readonly heldBytes: number;
}

/** An image format whose header can be read. */
export interface ImageFormat {
  /** The name of the format in sharp. */
  readonly name: 'png' | 'jpeg' | 'webp' | 'gif' | 'tiff';
  /** The base class of its loaders in libvips. */
  readonly loader: string;
  /** Whether a file of this format can start with these bytes, given as latin1. */
  readonly matches: (head: string) => boolean;
  /** @throws BrokenImage */
  readonly read: (source: ByteSource) => Promise<ImageStructure>;
  /** A valid image of one pixel. A decoder that cannot read it cannot read the format at all. */
  readonly sample: Buffer;
}

/** Counting stops here: no service accepts so many pages. */
export const MAX_PAGES = 10_000;
/** How many chunks, segments or frames a reader walks over before it gives up. */
export const MAX_STEPS = 100_000;

/** How many rows the pipeline of libvips holds of an image that it reads row by row. Measured with sharp 0.34. */
const ROWS_HELD = 600;
/** How often it holds an image of few rows. */
const COPIES_HELD = 6;

/** What libvips holds of an image that it reads row by row. */
export function heldRows(width: number, height: number, bytesPerPixel: number): number {
  return width * Math.min(ROWS_HELD, COPIES_HELD * height) * bytesPerPixel;
}

/** Thrown if a file has no valid header of its image type. */
export class BrokenImage extends Error {
  constructor(readonly reason: UndecodableReason) {
    super(UPLOAD_REASONS['upload-undecodable'][reason]);
  }
}

/** Reads exactly `length` bytes. @throws BrokenImage if there are fewer */
export async function bytesAt(source: ByteSource, offset: number, length: number): Promise<Buffer> {
  const bytes = await source.read(offset, length);
  if (bytes.length < length) throw new BrokenImage('headerIncomplete');
  return bytes;
}
