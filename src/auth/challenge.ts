import { badOption } from '../core/option.js';
import type { ResourceMetadata } from '../core/resource-metadata.js';

/** The parameters of a challenge, beside its realm. */
export interface ChallengeParameters {
  /** An error code of RFC 6750 section 3.1. */
  readonly error?: string | undefined;
  /** The scopes that are needed (RFC 6750 section 3). */
  readonly scopes?: readonly string[] | undefined;
  /** The URL of the metadata that says how to get a token (RFC 9728 section 5.1). */
  readonly resourceMetadata?: string | undefined;
}

/** One challenge of `WWW-Authenticate` (RFC 9110 section 11.6.1). */
export function challenge(scheme: string, realm: string, parameters: ChallengeParameters = {}): string {
  const { error, scopes = [], resourceMetadata } = parameters;
  let text = `${scheme} realm=${quoted(realm)}`;
  if (error !== undefined) text += `, error=${quoted(error)}`;
  if (scopes.length > 0) text += `, scope=${quoted(scopes.join(' '))}`;
  if (resourceMetadata !== undefined) text += `, resource_metadata=${quoted(resourceMetadata)}`;
  return text;
}

/** RFC 9110 section 5.6.4. */
function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}

/** Whether an authorization server gives out the credentials of a scheme: bearer tokens, also bound ones (RFC 9449). */
export function isTokenScheme(scheme: string): boolean {
  return /^(?:bearer|dpop)$/i.test(scheme);
}

/** @throws OptionError for text that cannot be a quoted string of a header */
export function checkRealm(factory: string, realm: unknown): void {
  if (typeof realm !== 'string' || !/^[\x20-\x7e]*$/.test(realm)) {
    throw badOption(factory, 'realm', 'must be printable ASCII text', realm);
  }
}

/** Makes replies once for each `protectedResource`, not for each request. */
export function repliesByMetadata<Replies>(make: (metadata: ResourceMetadata | undefined) => Replies) {
  const without = make(undefined);
  const made = new WeakMap<ResourceMetadata, Replies>();
  return (metadata: ResourceMetadata | undefined): Replies => {
    if (metadata === undefined) return without;
    const known = made.get(metadata);
    if (known !== undefined) return known;
    const replies = make(metadata);
    made.set(metadata, replies);
    return replies;
  };
}
