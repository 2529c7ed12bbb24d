import type { RequestView } from '../../core/request-view.js';
import { ABSENT, type Credentials, malformed } from '../authenticator.js';
import { type Claim, KEY_ID, NONCE, TIMESTAMP, VISIBLE } from './canonical.js';

const SIGNATURE = /^[0-9A-Fa-f]{64}$/;
/** Exactly one digest, and only SHA-256: a digest of another kind would not be verified. */
const CONTENT_DIGEST = /^sha-256=:[A-Za-z0-9+/]{43}=:$/;
/** Written out, because the first hash of a process takes milliseconds, and every import would wait for it. */
const EMPTY_BODY_DIGEST = 'sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:';

const REPEATED = malformed('repeated');
const MALFORMED_SIGNATURE = malformed('malformed signature');
const MALFORMED_TARGET = malformed('malformed target');
const MALFORMED_DIGEST = malformed('malformed content-digest');

/** The fields that come with a signature, each exactly once. */
const CLAIM_FIELDS = (
  [
    ['x-timestamp', TIMESTAMP],
    ['x-nonce', NONCE],
    ['x-key-id', KEY_ID],
  ] as const
).map(([name, form]) => ({
  name,
  form,
  missing: malformed(`missing ${name}`),
  malformed: malformed(`malformed ${name}`),
}));

/** The fields of a signed request. */
export interface SignatureFields extends Claim {
  /** 64 hexadecimal digits. */
  readonly signature: string;
}

/** The fields of a signed request as one token. They are separated by spaces, which none of them can contain. */
export function readSignatureFields(request: RequestView): Credentials {
  const signatures = request.fieldLines('x-signature');
  const signature = signatures[0];
  if (signature === undefined) return ABSENT;
  if (signatures.length > 1) return REPEATED;
  if (!SIGNATURE.test(signature)) return MALFORMED_SIGNATURE;
  if (!VISIBLE.test(request.method) || !VISIBLE.test(request.url)) return MALFORMED_TARGET;
  let token = '';
  for (const field of CLAIM_FIELDS) {
    const lines = request.fieldLines(field.name);
    const value = lines[0];
    if (value === undefined) return field.missing;
    if (lines.length > 1) return REPEATED;
    if (!field.form.test(value)) return field.malformed;
    token += `${value} `;
  }
  const digests = request.fieldLines('content-digest');
  if (digests.length > 1) return REPEATED;
  const digest = digests[0] ?? EMPTY_BODY_DIGEST;
  if (!CONTENT_DIGEST.test(digest)) return MALFORMED_DIGEST;
  return { kind: 'present', token: `${token}${digest} ${signature}` };
}

/** The authority that the client requested; undefined unless it named exactly one. */
export function readAuthority(request: RequestView): string | undefined {
  const lines = request.fieldLines('host');
  const authority = lines[0];
  return lines.length === 1 && authority !== undefined && VISIBLE.test(authority) ? authority : undefined;
}

/** Splits a token of `readSignatureFields` into its fields. */
export function signatureFields(token: string): SignatureFields {
  const [timestamp = '', nonce = '', keyId = '', digest = '', signature = ''] = token.split(' ');
  return { timestamp, nonce, keyId, digest, signature };
}
