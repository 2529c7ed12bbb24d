import type { Time } from '../../core/time.js';

/** One key of a record. */
export interface ApiKeyDigest {
  /** Of the key, by `digestApiKey`: 64 lower-case hexadecimal digits. */
  readonly digest: string;
  /** Until this moment the key is refused. Default from ever. */
  readonly notBefore?: Time;
  /** From this moment on the key is refused. Default never. */
  readonly expiresAt?: Time;
}

/**
 * What a service keeps of a client's API keys: plain data for a file or a database, with no key in it. It may have several
 * keys, so that one can be changed for another while both are good; quota, usage and ownership hang on `clientId` and do
 * not notice.
 */
export interface ApiKeyRecord {
  /** Names the record in `principal.credentialId` and the audit: 1 to 128 printable characters. */
  readonly id: string;
  /** `principal.id`: 1 to 128 printable characters. */
  readonly clientId: string;
  /** For people. */
  readonly name?: string;
  /** At least one. */
  readonly digests: readonly ApiKeyDigest[];
  /** Scopes of the principal (RFC 6749 section 3.3). Default none. */
  readonly scopes?: readonly string[];
  /** Whether the keys are good at all. Default true. */
  readonly enabled?: boolean;
  /** `principal.limits`: figures by a name that the service chose, finite and not negative. */
  readonly limits?: Readonly<Record<string, number>>;
  /** `principal.metadata`: anything that JSON can hold. */
  readonly metadata?: unknown;
}
