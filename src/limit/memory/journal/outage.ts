import type { JournalEvent } from './journal-events.js';

/** A journal that cannot be written is tried again, but not more often than this, in milliseconds. */
const TRY_AGAIN = 100;

/** Whether a journal can be written, and what is reported of that. */
export class Outage {
  /** Why the last write failed. Undefined if none did, and while it is tried again. */
  error: unknown;
  #isReported = false;
  #triedAt = 0;
  readonly #report: (event: JournalEvent) => void;

  constructor(report: (event: JournalEvent) => void) {
    this.#report = report;
  }

  /** Whether it is time to try again. */
  get isDue(): boolean {
    return Math.abs(performance.now() - this.#triedAt) >= TRY_AGAIN;
  }

  /** To be called before it is tried again. */
  tries(): void {
    this.#triedAt = performance.now();
  }

  begin(error: unknown): void {
    this.tries();
    this.error = error;
    if (this.#isReported) return;
    this.#isReported = true;
    this.#report({ kind: 'unavailable', error });
  }

  /** To be called when all that waited is written. */
  end(): void {
    this.error = undefined;
    if (!this.#isReported) return;
    this.#isReported = false;
    this.#report({ kind: 'available' });
  }
}
