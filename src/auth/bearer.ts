import type { RequestView } from '../core/request-view.js';
import { ABSENT, type Credentials, malformed } from './authenticator.js';

/** `b64token` of RFC 6750 section 2.1: the characters of a bearer token. */
export const BEARER_TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/;

const REPEATED = malformed('repeated');
const MALFORMED = malformed('malformed');

/**
 * The bearer token of a request. Only `Authorization` is read: tokens in a query or body end up in logs (RFC 6750
 * section 5.3). The scheme's name may be in any case, and one or more spaces follow it. Any other form of a bearer
 * credential is malformed. So is a repeated header, of which Node would silently keep the first.
 */
export function readBearer(request: RequestView): Credentials {
  const lines = request.fieldLines('authorization');
  const line = lines[0];
  if (line === undefined) return ABSENT;
  if (lines.length > 1) return REPEATED;
  if (line.length < 6 || line.slice(0, 6).toLowerCase() !== 'bearer') return ABSENT;
  let start = 6;
  while (line.charCodeAt(start) === 0x20) start++;
  if (start === 6) return MALFORMED;
  const token = line.slice(start);
  return BEARER_TOKEN.test(token) ? { kind: 'present', token } : MALFORMED;
}
