import type { RequestView } from '../../core/request-view.js';

/** A string of RFC 9651 section 3.3.3, without parameters. */
const STRING = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/;
/** A key without quotes, as many clients send it. A list of keys has a comma. */
const BARE = /^[\x21\x23-\x2b\x2d-\x7e]+$/;
const MAX_LENGTH = 255;
/** Also with a backslash before every character. */
const MAX_FIELD_LENGTH = 2 * MAX_LENGTH + 2;

/** What the header `Idempotency-Key` of a request says. With quotes or without, it is the same key. */
export type ReadKey =
  | { readonly kind: 'absent' }
  | { readonly kind: 'malformed' }
  | { readonly kind: 'key'; readonly key: string };

const ABSENT: ReadKey = { kind: 'absent' };
const MALFORMED: ReadKey = { kind: 'malformed' };

/** Reads the key of a request: one header line, a string in quotes or bare, of 1 to 255 characters. */
export function readIdempotencyKey(request: RequestView): ReadKey {
  const [line, ...others] = request.fieldLines('idempotency-key');
  if (line === undefined) return ABSENT;
  const value = line.trim();
  if (others.length > 0 || value.length > MAX_FIELD_LENGTH) return MALFORMED;
  const quoted = STRING.exec(value)?.[1]?.replace(/\\(["\\])/g, '$1');
  const key = quoted ?? (BARE.test(value) ? value : '');
  return key === '' || key.length > MAX_LENGTH ? MALFORMED : { kind: 'key', key };
}
