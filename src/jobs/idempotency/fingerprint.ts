import { createHash } from 'node:crypto';
import type { RequestBody, RequestView } from '../../core/request-view.js';

/** A digest of what a repeat must have in common with the first request, or why there is none. */
export type Fingerprint =
  | {
      readonly kind: 'digest';
      readonly digest: string;
      /** Whether all of the body has arrived. */
      readonly isWhole: boolean;
    }
  | { readonly kind: 'too-large' }
  | { readonly kind: 'aborted' };

const MULTIPART = /^multipart\/[^;]+;(?:.*;)?[ \t]*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i;

/**
 * Reads the body and digests it with the query and the content type. A body that is larger than `maxBytes` by its
 * `Content-Length` is not read: its length, its type and its `Content-Digest` take its place. The boundary of a multipart
 * body does not count, since clients make a new one for each attempt.
 */
export async function fingerprintOf(request: RequestView, maxBytes: number): Promise<Fingerprint> {
  const lengths = request.fieldLines('content-length');
  const length = Number(lengths[0] ?? 0);
  const [type = ''] = request.fieldLines('content-type');
  const boundary = boundaryOf(type);
  const mediaType = boundary === undefined ? type : (type.split(';', 1)[0] ?? '');
  const query = request.url.includes('?') ? request.url.slice(request.url.indexOf('?') + 1) : '';
  const parts: (string | Uint8Array)[] = [query, mediaType, ...request.fieldLines('content-encoding')];
  const isWhole = !(length > maxBytes);
  if (!isWhole) {
    parts.push('not read', String(length), ...request.fieldLines('content-digest'));
  } else {
    const body = await readBody(request, maxBytes);
    if (body === 'too-large' || body === 'aborted') return { kind: body };
    parts.push('read', ...(boundary === undefined ? [body] : split(body, `--${boundary}`)));
  }
  return { kind: 'digest', digest: digestOf(parts), isWhole };
}

/** The base64url digest of a list of texts and bytes, none of which can run into the next. */
export function digestOf(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) {
    const bytes = typeof part === 'string' ? Buffer.from(part) : part;
    hash.update(`${bytes.length}:`).update(bytes);
  }
  return hash.digest('base64url');
}

async function readBody(request: RequestView, maxBytes: number): Promise<Exclude<RequestBody, 'consumed'>> {
  if (request.readBody === undefined) {
    throw new Error('gatewarden: idempotent cannot read bodies on this server: its adapter has no readBody');
  }
  const body = await request.readBody(maxBytes);
  if (body === 'consumed') {
    throw new Error('gatewarden: the body was read before idempotent; put guards before body parsers');
  }
  return body;
}

function boundaryOf(contentType: string): string | undefined {
  const match = MULTIPART.exec(contentType);
  return match?.[1] ?? match?.[2];
}

/** The parts of a body between its boundaries. Their number is bounded, so that many boundaries cost no more than few. */
function split(body: Uint8Array, delimiter: string): readonly Uint8Array[] {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const parts: Uint8Array[] = [];
  let start = 0;
  while (parts.length < MAX_PARTS) {
    const end = bytes.indexOf(delimiter, start);
    if (end === -1) break;
    parts.push(bytes.subarray(start, end));
    start = end + delimiter.length;
  }
  parts.push(bytes.subarray(start));
  return parts;
}

const MAX_PARTS = 1000;
