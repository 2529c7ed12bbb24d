/**
 * A replay store's answer to `remember`.
 * - `new`: the key was unknown, and is remembered now.
 * - `seen`: the key is known, or may have been: its time is over, so it may have been forgotten.
 * - `full`: there is no room. The key is not remembered.
 */
export type Remembered = 'new' | 'seen' | 'full';

/**
 * Remembers keys that must not be used twice. Of any number of `remember` calls with one key, from any process, exactly
 * one returns `new`. A key is kept at least until `until`, in epoch milliseconds, and is never dropped earlier to make
 * room. A store that cannot be sure must not return `new`: it throws, rejects, or returns `full`, and the request gets
 * 503.
 *
 * ```ts
 * const store: ReplayStore = {
 *   remember: async (key, until) => ((await db.insertUnlessPresent(key, until)) ? 'new' : 'seen'),
 * }
 * ```
 */
export interface ReplayStore {
  /**
   * The time from which on the store remembers, in epoch milliseconds, for a store that a restart empties. A request
   * that was signed before may have been used already, and is refused with 503.
   */
  readonly since?: number | undefined;
  /**
   * Whether a key is remembered, without remembering it. It is called before the body is read, so that a used signature
   * costs no body. Without it, only `remember` is called, after the body.
   */
  has?(key: string): boolean | Promise<boolean>;
  /** Remembers a key until the given time, in epoch milliseconds. */
  remember(key: string, until: number): Remembered | Promise<Remembered>;
}
