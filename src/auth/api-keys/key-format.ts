import { badOption } from '../../core/option.js';
import { base62, endsInBase62, randomBase62 } from './base62.js';
import { crc32 } from './crc32.js';

/** The beginning of every generated key by default, which scanners for leaked secrets look for. */
export const DEFAULT_PREFIX = 'gk_live_';

const PREFIX = /^[A-Za-z][A-Za-z0-9_-]{1,30}_$/;
const ID_LENGTH = 12;
/** 43 digits of base62 are 256 bits. */
const SECRET_LENGTH = 43;
/** 6 digits of base62 hold 32 bits. */
const CHECKSUM_LENGTH = 6;
const KEY_ID = /^[0-9A-Za-z]{12}$/;

/** Checks the prefix of generated keys. It ends in `_`, so that no ordinary word begins with it. @throws OptionError */
export function keyPrefix(factory: string, value: unknown = DEFAULT_PREFIX): string {
  if (typeof value !== 'string' || !PREFIX.test(value)) {
    throw badOption(
      factory,
      'prefix',
      'must be 3 to 32 letters, digits, "-" or "_", beginning with a letter and ending with "_"',
      value,
    );
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
 * A new key: `<prefix><id><secret><checksum>`. The checksum is the CRC-32 of everything before it. The id is not
 * secret: it names the record for people and in the audit.
 */
export function newKey(prefix: string, id: string): string {
  const body = prefix + id + randomBase62(SECRET_LENGTH);
  return body + base62(crc32(body), CHECKSUM_LENGTH);
}

/**
 * The form of a token, without any look-up: `generated` for a complete key of `newKey`, `broken` for any other token
 * with the prefix, such as a key with a typing error, and `opaque` for a token without the prefix.
 */
export function keyForm(token: string, prefix: string): 'generated' | 'broken' | 'opaque' {
  if (!token.startsWith(prefix)) return 'opaque';
  const bodyLength = prefix.length + ID_LENGTH + SECRET_LENGTH;
  const isComplete =
    token.length === bodyLength + CHECKSUM_LENGTH && endsInBase62(token, crc32(token, bodyLength), CHECKSUM_LENGTH);
  return isComplete ? 'generated' : 'broken';
}
