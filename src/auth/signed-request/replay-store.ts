/**
 * What became of a key that a replay store was asked to remember.
 * - `new`: it was not known, and now is.
 * - `seen`: it is known already, or may be: a key whose time is over cannot be told from one that was forgotten.
 * - `full`: there is no room for it. It is not remembered.
 */
export type Remembered = 'new' | 'seen' | 'full';

/**
 * Remembers what must not come twice. Of any number of calls with one key exactly one is told `new`, wherever they come
 * from. A key is kept at least until `until`, in epoch milliseconds, and never given up for another before. What cannot
 * be remembered for certain is not `new`: a store that fails throws, rejects, or says `full`.
 */
export interface ReplayStore {
  /**
   * Since when it remembers, in epoch milliseconds, where it forgets with its process: what was signed before may have been
   * used, and is refused with 503.
   */
  readonly since?: number;
  /**
   * Whether a key is remembered, and nothing else: asked before a body is read for a signature that may have been used. A
   * store without it is asked only afterwards.
   */
  has?(key: string): boolean | Promise<boolean>;
  remember(key: string, until: number): Remembered | Promise<Remembered>;
}
