import { fileTypeFromBuffer } from 'file-type';
import { TIFF } from './formats/tiff.js';

/** How many bytes at the start of a file are needed to detect its type. */
export const HEAD_BYTES = 4100;

/** Detects the media type of a file from its first bytes alone. Returns `unknown` if they match no known type. */
export async function contentType(firstBytes: Buffer): Promise<string> {
  // A fixed length: the result must not depend on how the file was split into chunks.
  const head = firstBytes.subarray(0, HEAD_BYTES);
  const mime = (await fileTypeFromBuffer(head))?.mime;
  // An APNG is a valid PNG. Whether its frames are accepted is decided by `animated`.
  if (mime === 'image/apng') return 'image/png';
  // file-type needs the first directory of a TIFF, which most writers put after the pixels.
  return mime ?? (TIFF.matches(head.toString('latin1', 0, 4)) ? 'image/tiff' : 'unknown');
}
