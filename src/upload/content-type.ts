import { fileTypeFromBuffer } from 'file-type';
import { TIFF } from './formats/tiff.js';

/** How much of a file tells its type. */
export const HEAD_BYTES = 4100;

/** The media type of a file, by its beginning and nothing else; `unknown` where that tells none. */
export async function contentType(beginning: Buffer): Promise<string> {
  // However it came in pieces, a file is of one type.
  const head = beginning.subarray(0, HEAD_BYTES);
  const mime = (await fileTypeFromBuffer(head))?.mime;
  // An animated PNG is a PNG to whoever takes them.
  if (mime === 'image/apng') return 'image/png';
  // file-type looks for a TIFF's first directory, which most writers put behind the pixels.
  return mime ?? (TIFF.begins(head.toString('latin1', 0, 4)) ? 'image/tiff' : 'unknown');
}
