import { close, fdatasync, open } from 'node:fs';

/** How long what was written may wait until it is on the disk, in milliseconds. */
const INTERVAL = 1000;

/**
 * Brings the file's log of changes onto the disk in the background, a second after a commit at the latest. What was committed
 * survives the death of the process in any case. This bounds what a power cut takes.
 */
export class DurableLog {
  readonly #path: string;
  readonly #onFailure: (error: unknown) => void;
  readonly #interval: number;
  /** How often it was done. */
  synchronized = 0;
  #timer: NodeJS.Timeout | undefined;
  #isSyncing = false;

  /** `onFailure` is called with the reason if it could not be done. */
  constructor(databasePath: string, onFailure: (error: unknown) => void, interval = INTERVAL) {
    this.#interval = interval;
    this.#path = `${databasePath}-wal`;
    this.#onFailure = onFailure;
  }

  /** To be called after each commit. */
  committed(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.#due(), this.#interval);
    // An exit is no power cut: what was committed is in the hands of the system.
    this.#timer.unref();
  }

  /** What was committed is brought onto the disk now: other processes that use the file may write nothing for long. */
  close(): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sync();
  }

  #due(): void {
    this.#timer = undefined;
    // A slow disk may take longer than the interval.
    if (this.#isSyncing) this.committed();
    else this.#sync();
  }

  #sync(): void {
    this.#isSyncing = true;
    const done = (error: NodeJS.ErrnoException | null) => {
      this.#isSyncing = false;
      // Without a log of changes, everything is in the file, and SQLite has synchronized that.
      if (error === null || error.code === 'ENOENT') this.synchronized++;
      else this.#onFailure(error);
    };
    // SQLite keeps no locks on this file that closing it would give up.
    open(this.#path, 'r+', (error, file) => {
      if (error !== null) done(error);
      else fdatasync(file, (failure) => close(file, () => done(failure)));
    });
  }
}
