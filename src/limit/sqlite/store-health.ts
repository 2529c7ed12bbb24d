import { isThenable } from '../../core/thenable.js';
import { warn } from '../../core/warning.js';

/**
 * A change that a SQLite store reports to `onEvent`.
 * - `unavailable`: the file cannot be used: it is locked, damaged, or the disk is full. Requests are refused with 503.
 * - `available`: it can be used again.
 * - `full`: it holds `maxEntries` counters, and none of those looked at may be forgotten. Requests with new keys are refused
 *   with 503. Reported at most once a minute.
 * - `not-synchronized`: what was written could not be brought onto the disk. It is lost if the power fails.
 */
export type SqliteStoreEvent =
  | { readonly kind: 'unavailable'; readonly error: unknown }
  | { readonly kind: 'available' }
  | { readonly kind: 'full'; readonly error: unknown }
  | { readonly kind: 'not-synchronized'; readonly error: unknown };

const CODE = { code: 'GATEWARDEN_STORE_UNAVAILABLE' };
/** How long a full file is not reported again, in milliseconds: room comes and goes with each counter that expires. */
const QUIET = 60_000;
const WHAT = {
  unavailable: 'cannot be used',
  full: 'is full',
  'not-synchronized': 'could not be brought onto the disk',
} as const;

/** Whether the file can be used, as far as is known. Reports each change once. */
export class StoreHealth {
  readonly #file: string;
  readonly #onEvent: ((event: SqliteStoreEvent) => void) | undefined;
  #isAvailable = true;
  #isSynchronized = true;
  /** By `performance.now()`. */
  #fullReportedAt = Number.NEGATIVE_INFINITY;

  constructor(file: string, onEvent: ((event: SqliteStoreEvent) => void) | undefined) {
    this.#file = file;
    this.#onEvent = onEvent;
  }

  /** Notes a failure, or `undefined` for a success. */
  is(error: unknown): void {
    const isAvailable = error === undefined;
    if (isAvailable === this.#isAvailable) return;
    this.#isAvailable = isAvailable;
    this.#report(isAvailable ? { kind: 'available' } : { kind: 'unavailable', error });
  }

  /** The file has no room for a new counter. */
  full(error: unknown): void {
    const now = performance.now();
    if (now - this.#fullReportedAt < QUIET) return;
    this.#fullReportedAt = now;
    this.#report({ kind: 'full', error });
  }

  notSynchronized(error: unknown): void {
    if (!this.#isSynchronized) return;
    this.#isSynchronized = false;
    this.#report({ kind: 'not-synchronized', error });
  }

  #report(event: SqliteStoreEvent): void {
    if (this.#onEvent === undefined) {
      if (event.kind === 'available') return;
      const reason = event.error instanceof Error ? event.error.message : String(event.error);
      warn(`sqliteStore: the file ${this.#file} ${WHAT[event.kind]}: ${reason}`, CODE);
      return;
    }
    const failed = (error: unknown) => console.error('gatewarden: the onEvent callback of sqliteStore threw:', error);
    try {
      const returned: unknown = this.#onEvent(event);
      if (isThenable(returned)) Promise.resolve(returned).catch(failed);
    } catch (error) {
      failed(error);
    }
  }
}
