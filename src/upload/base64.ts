import { malformed, tooLarge } from './upload-error.js';

/** No group that repeats: regular expressions keep such on a stack, which is not endless. */
const BASE64 = /^[A-Za-z0-9+/\r\n]*={0,2}$/;
/** Nobody writes shorter lines (RFC 2045: 76 characters, RFC 7468: 64); in very many of them a text takes long to read. */
const SHORTEST_LINE = 32;
const FEW_LINES = 16;
const [LF, CR] = [10, 13];

/**
 * The bytes of a text in base64 (RFC 4648 section 4), in one line or many (RFC 2045 section 6.8). Nothing is decoded of one
 * that is too long.
 * @throws UploadError
 */
export function fromBase64(text: string, maxBytes: number): Buffer {
  const most = Math.ceil(maxBytes / 3) * 4;
  if (text.length > most + 2 * mostBreaks(most)) throw tooLarge('file', maxBytes);
  const length = text.length - lengthOfBreaks(text);
  if (length > most) throw tooLarge('file', maxBytes);
  if (length % 4 !== 0 || !BASE64.test(text.slice(0, endOf(text)))) throw malformed('no base64');
  // Breaks are passed over.
  return Buffer.from(text, 'base64');
}

const mostBreaks = (length: number) => length / SHORTEST_LINE + FEW_LINES;

/** How many characters are breaks of lines, LF or CRLF. */
function lengthOfBreaks(text: string): number {
  let length = 0;
  let left = mostBreaks(text.length);
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) {
    if (--left < 0) throw malformed('no base64');
    length++;
  }
  for (let at = text.indexOf('\r'); at !== -1; at = text.indexOf('\r', at + 1)) {
    if (text.charCodeAt(at + 1) !== LF) throw malformed('no base64');
    length++;
  }
  return length;
}

/** Where its last line ends, without a break. */
function endOf(text: string): number {
  let end = text.length;
  while (end > 0 && (text.charCodeAt(end - 1) === LF || text.charCodeAt(end - 1) === CR)) end--;
  return end;
}
