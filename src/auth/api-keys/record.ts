import type { Time } from '../../core/time.js';

/** One key of a record. */
export interface ApiKeyDigest {
  /** The key's digest, from `digestApiKey`: 64 lower-case hexadecimal digits. */
  readonly digest: string;
  /** The key is refused before this time. Default no beginning. */
  readonly notBefore?: Time | undefined;
  /** The key is refused from this time on. Default never. */
  readonly expiresAt?: Time | undefined;
}

/**
 * What a service stores of a client's API keys: plain data for a file or a database, without the keys. A record may
 * have several keys, so that a client can change from one to another while both are valid. Quota, usage and ownership
 * depend on `clientId` only, so rotating a key does not affect them.
 *
 * ```ts
 * const record: ApiKeyRecord = { id: 'acme-1', clientId: 'acme', digests: [{ digest: digestApiKey(key) }] }
 * ```
 */
export interface ApiKeyRecord {
  /** `principal.credentialId` and the record's name in the audit: 1 to 128 printable characters. */
  readonly id: string;
  /** `principal.id`: 1 to 128 printable characters. */
  readonly clientId: string;
  /** A name for people. */
  readonly name?: string | undefined;
  /** The client's keys, at least one. */
  readonly digests: readonly ApiKeyDigest[];
  /** Scopes of the principal (RFC 6749 section 3.3). Default none. */
  readonly scopes?: readonly string[] | undefined;
  /** Whether the keys are accepted. Default true. */
  readonly enabled?: boolean | undefined;
  /** `principal.limits`: finite numbers of at least 0, by names that the service chooses. */
  readonly limits?: Readonly<Record<string, number>> | undefined;
  /** `principal.metadata`: any JSON value. */
  readonly metadata?: unknown | undefined;
}

/**
 * A record as a database returns it: an optional member may be `null`, which counts as absent. Only `enabled: null` counts
 * as false, so a key must be enabled explicitly.
 */
export type ApiKeyRow = Nullable<Omit<ApiKeyRecord, 'digests'>> & {
  readonly digests: readonly Nullable<ApiKeyDigest>[];
};

type Nullable<T> = { readonly [K in keyof T]: undefined extends T[K] ? T[K] | null : T[K] };
