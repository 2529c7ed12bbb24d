import { badOption } from '../../core/option.js';
import { base62, randomBase62 } from './base62.js';
import { crc32 } from './crc32.js';

/** Stands before every generated key, unless set otherwise: what a scanner for leaked secrets looks for. */
export const DEFAULT_PREFIX = 'gk_live_';

const PREFIX = /^[A-Za-z][A-Za-z0-9_-]{1,30}_$/;
const ID_LENGTH = 12;
/** 43 digits of base62 are 256 bits. */
const SECRET_LENGTH = 43;
/** 6 digits of base62 hold 32 bits. */
const CHECKSUM_LENGTH = 6;
const KEY_ID = /^[0-9A-Za-z]{12}$/;

/** A prefix as generated keys may have it: it ends in `_`, so that it is no beginning of an ordinary word. */
export function keyPrefix(factory: string, value: unknown = DEFAULT_PREFIX): string {
  if (typeof value !== 'string' || !PREFIX.test(value)) {
    throw badOption(factory, 'prefix', 'must be 3 to 32 letters, digits, - or _, a letter first and _ last', value);
  }
  return value;
}

export function isKeyId(text: string): boolean {
  return KEY_ID.test(text);
}

export function newKeyId(): string {
  return randomBase62(ID_LENGTH);
}

/**
 * A new key: `<prefix><id><secret><checksum>`, the checksum being the CRC-32 of all before it. The id is no secret: it names
 * the record to people and in the audit.
 */
export function newKey(prefix: string, id: string): string {
  const body = prefix + id + randomBase62(SECRET_LENGTH);
  return body + base62(crc32(body), CHECKSUM_LENGTH);
}

/**
 * The form of a token, by position alone: `generated` as by `newKey`, `broken` where it has the prefix and is not, such as
 * after a slip of the hand, and `opaque` without the prefix.
 */
export function keyForm(token: string, prefix: string): 'generated' | 'broken' | 'opaque' {
  if (!token.startsWith(prefix)) return 'opaque';
  const checked = prefix.length + ID_LENGTH + SECRET_LENGTH;
  return token.length === checked + CHECKSUM_LENGTH && token.endsWith(base62(crc32(token, checked), CHECKSUM_LENGTH))
    ? 'generated'
    : 'broken';
}
