import { malformed, tooLarge } from './upload-error.js';

/** Has no repeated group: the regular expression engine keeps one stack entry for each repetition, and overflows. */
const BASE64 = /^[A-Za-z0-9+/\r\n]*={0,2}$/;
/** Real encoders write 64 (RFC 7468) or 76 (RFC 2045) characters a line. Text in very short lines is slow to scan. */
const SHORTEST_LINE = 32;
const FEW_LINES = 16;
const [LF, CR] = [10, 13];

/**
 * Decodes base64 (RFC 4648 section 4) on one line or on several (RFC 2045 section 6.8). The size is checked before
 * anything is decoded.
 * @throws UploadError
 */
export function fromBase64(text: string, maxBytes: number): Buffer {
  const maxLength = Math.ceil(maxBytes / 3) * 4;
  if (text.length > maxLength + 2 * maxLineBreaks(maxLength)) throw tooLarge('file', maxBytes);
  const length = text.length - lineBreakLength(text);
  if (length > maxLength) throw tooLarge('file', maxBytes);
  if (length % 4 !== 0 || !BASE64.test(text.slice(0, trimmedLength(text)))) throw malformed('notBase64');
  // Skips line breaks.
  return Buffer.from(text, 'base64');
}

const maxLineBreaks = (length: number) => length / SHORTEST_LINE + FEW_LINES;

/** Counts the characters that belong to line breaks, LF or CRLF. */
function lineBreakLength(text: string): number {
  let length = 0;
  let breaksLeft = maxLineBreaks(text.length);
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) {
    if (--breaksLeft < 0) throw malformed('notBase64');
    length++;
  }
  for (let at = text.indexOf('\r'); at !== -1; at = text.indexOf('\r', at + 1)) {
    if (text.charCodeAt(at + 1) !== LF) throw malformed('notBase64');
    length++;
  }
  return length;
}

/** The length without line breaks at the end. */
function trimmedLength(text: string): number {
  let end = text.length;
  while (end > 0 && (text.charCodeAt(end - 1) === LF || text.charCodeAt(end - 1) === CR)) end--;
  return end;
}
