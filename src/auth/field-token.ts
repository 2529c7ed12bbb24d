import { badOption } from '../core/option.js';
import type { RequestView } from '../core/request-view.js';
import { ABSENT, type Credentials, malformed } from './authenticator.js';

/** `token` of RFC 9110 section 5.6.2: the name of a header. */
const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Visible ASCII: the characters of a credential that has its own header. */
export const FIELD_TOKEN = /^[\x21-\x7e]+$/;

const REPEATED = malformed('repeated');
const MALFORMED = malformed('malformed');

/** The credential of a header such as `X-API-Key`. A blank value counts as absent. `name` is in lower case. */
export function readFieldToken(request: RequestView, name: string): Credentials {
  const lines = request.fieldLines(name);
  if (lines.length > 1) return REPEATED;
  const token = lines[0]?.trim();
  if (token === undefined || token === '') return ABSENT;
  return FIELD_TOKEN.test(token) ? { kind: 'present', token } : MALFORMED;
}

/** A header's name in lower case, as `readFieldToken` expects it. @throws OptionError */
export function fieldName(factory: string, option: string, value: unknown): string {
  if (typeof value !== 'string' || !FIELD_NAME.test(value)) {
    throw badOption(factory, option, 'must be a header name, such as X-API-Key', value);
  }
  return value.toLowerCase();
}
