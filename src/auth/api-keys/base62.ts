import { randomBytes } from 'node:crypto';

export const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** The largest multiple of 62 in a byte. Larger bytes are discarded: they would make the first digits more likely. */
const UNBIASED_BYTES = 248;

/** Random base62 digits, each equally likely: 5.95 bits a digit. */
export function randomBase62(length: number): string {
  let text = '';
  while (text.length < length) {
    for (const byte of randomBytes(length - text.length)) {
      if (byte < UNBIASED_BYTES) text += BASE62.charAt(byte % 62);
    }
  }
  return text;
}

/** A non-negative integer in exactly `length` digits, the most significant first. */
export function base62(value: number, length: number): string {
  let text = '';
  let rest = value;
  for (let i = 0; i < length; i++) {
    text = BASE62.charAt(rest % 62) + text;
    rest = Math.floor(rest / 62);
  }
  return text;
}

/** Whether a text ends in `base62(value, length)`, without making that text. */
export function endsInBase62(text: string, value: number, length: number): boolean {
  let rest = value;
  for (let i = text.length - 1; i >= text.length - length; i--) {
    if (text.charCodeAt(i) !== BASE62.charCodeAt(rest % 62)) return false;
    rest = Math.floor(rest / 62);
  }
  return true;
}
