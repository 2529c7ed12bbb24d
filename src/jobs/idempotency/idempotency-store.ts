/** A remembered answer. */
export interface IdempotencyAnswer {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Undefined if it was too large to be remembered: the request is never run again, and its answer is not repeated. */
  readonly body: Uint8Array | undefined;
}

/**
 * A store's answer to `begin`.
 * - `new`: the key was free. The caller holds it now, under its lease.
 * - `running`: another request holds it.
 * - `answered`: a request with this key was answered.
 * - `full`: there is no room. The key is not held.
 */
export type Begun =
  | { readonly kind: 'new' }
  | { readonly kind: 'running'; readonly fingerprint: string }
  | { readonly kind: 'answered'; readonly fingerprint: string; readonly answer: IdempotencyAnswer }
  | { readonly kind: 'full' };

/**
 * Remembers idempotency keys and the answers to their requests. Every verb is one atomic step. A key is a digest of its
 * client, a colon, and a digest of the rest; a fingerprint is a digest. They have 66 and 43 characters. A store that cannot decide throws or rejects, and the request is refused with 503. It never
 * forgets an answer before its time to make room.
 */
export interface IdempotencyStore {
  /**
   * Holds a key that is free for `lease` milliseconds. If `holder` has the key already, the answer is `new` again: a client
   * library may send a command twice.
   */
  begin(key: string, fingerprint: string, holder: string, lease: number): Begun | Promise<Begun>;
  /** Extends the lease to `lease` milliseconds from now. False if `holder` does not have the key. */
  renew(key: string, holder: string, lease: number): boolean | Promise<boolean>;
  /**
   * Stores the answer for `ttl` milliseconds if `holder` still has the key, or if its lease has ended and no other request has
   * the key. Returns false if another request has the key, or if the key has an answer.
   */
  finish(
    key: string,
    fingerprint: string,
    holder: string,
    answer: IdempotencyAnswer,
    ttl: number,
  ): boolean | Promise<boolean>;
  /** Frees a key that `holder` has. The next request with it is new. */
  release(key: string, holder: string): void | Promise<void>;
}
