import { unavailable } from '../store.js';
import { isBusy, isSqliteError, locked, type SqliteDatabase, storeErrorOf } from './database.js';

/** Work that waits for the lock of the file. */
interface Waiting {
  readonly work: () => unknown;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly since: number;
  readonly patience: number;
}

/** Attempts to get the lock before the event loop goes on. Another process mostly has it for some tens of microseconds. */
const ATTEMPTS = 3;
/** Attempts between which only the event loop turns. Then timers wait, longer each time. */
const QUICK_TURNS = 4;
const LONGEST_PAUSE = 20;
/** So many share one transaction after they have waited: others want the lock as well. */
const MOST_AT_ONCE = 64;

/**
 * Runs work in write transactions: all that a piece of work writes is committed before its result is known, or nothing of
 * it. If another connection has the lock, the work waits without blocking the event loop, and what waits together shares a
 * transaction.
 */
export class Transactions {
  readonly #file: string;
  readonly #begin;
  readonly #commit;
  readonly #rollback;
  readonly #onCommit: () => void;
  readonly #onState: (error: unknown) => void;
  #waiting: Waiting[] = [];
  #turns = 0;
  #isClosed = false;

  /** `onState` is called with each failure, and with `undefined` after each success. */
  constructor(database: SqliteDatabase, file: string, onCommit: () => void, onState: (error: unknown) => void) {
    this.#file = file;
    this.#begin = database.prepare('BEGIN IMMEDIATE');
    this.#commit = database.prepare('COMMIT');
    this.#rollback = database.prepare('ROLLBACK');
    this.#onCommit = onCommit;
    this.#onState = onState;
  }

  /**
   * Runs work in a transaction: now, if the lock is free. Work reads before it writes, and throws errors of its own only
   * before it writes. `patience` is how long it may wait for the lock, in milliseconds.
   * @throws StoreError if the file cannot be used
   */
  run<T>(work: () => T, patience: number): T | Promise<T> {
    if (this.#isClosed) throw unavailable(`the store over the SQLite file ${this.#file} is closed`);
    // What waits already goes first.
    if (this.#waiting.length === 0 && this.#tryBegin(ATTEMPTS)) return this.#runOne(work);
    return new Promise<T>((resolve, reject) => {
      const since = performance.now();
      this.#waiting.push({ work, resolve: resolve as (result: unknown) => void, reject, since, patience });
      if (this.#waiting.length === 1) this.#wait();
    });
  }

  /** What waits is rejected. */
  close(): void {
    this.#isClosed = true;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { reject } of waiting) reject(unavailable(`the store over the SQLite file ${this.#file} was closed`));
  }

  /** Whether the transaction has begun; false if another connection has the lock. */
  #tryBegin(attempts: number): boolean {
    for (let i = 0; i < attempts; i++) {
      try {
        this.#begin.run();
        return true;
      } catch (error) {
        if (!isBusy(error)) throw this.#failed(error);
      }
    }
    return false;
  }

  #runOne<T>(work: () => T): T {
    let result: T;
    try {
      result = work();
      this.#commit.run();
    } catch (error) {
      this.#undo();
      throw this.#failed(error);
    }
    this.#succeeded();
    return result;
  }

  #wait(): void {
    this.#turns++;
    if (this.#turns <= QUICK_TURNS) setImmediate(() => this.#serve());
    else setTimeout(() => this.#serve(), Math.min(LONGEST_PAUSE, 2 ** (this.#turns - QUICK_TURNS - 1)));
  }

  #serve(): void {
    if (this.#isClosed) return;
    try {
      if (this.#tryBegin(1)) this.#runSeveral();
      else this.#giveUp();
    } catch (error) {
      this.#rejectAll(this.#waiting.splice(0), error);
    }
    if (this.#waiting.length > 0) this.#wait();
    else this.#turns = 0;
  }

  #runSeveral(): void {
    const several = this.#waiting.splice(0, MOST_AT_ONCE);
    const answers: (() => void)[] = [];
    try {
      for (const { work, resolve, reject } of several) {
        try {
          const result = work();
          answers.push(() => resolve(result));
        } catch (error) {
          if (isSqliteError(error)) throw error;
          answers.push(() => reject(error));
        }
      }
      this.#commit.run();
    } catch (error) {
      this.#undo();
      this.#rejectAll(several, this.#failed(error));
      return;
    }
    this.#turns = 0;
    this.#succeeded();
    for (const answer of answers) answer();
  }

  /** Rejects what has waited for too long. */
  #giveUp(): void {
    const now = performance.now();
    const isOver = ({ since, patience }: Waiting) => now - since >= patience;
    const over = this.#waiting.filter(isOver);
    if (over.length === 0) return;
    this.#waiting = this.#waiting.filter((waiting) => !isOver(waiting));
    for (const { patience, reject } of over) {
      const error = locked(this.#file, patience);
      this.#onState(error);
      reject(error);
    }
  }

  #rejectAll(several: readonly Waiting[], error: unknown): void {
    for (const { reject } of several) reject(error);
  }

  /** After some errors, SQLite has already rolled back. */
  #undo(): void {
    try {
      this.#rollback.run();
    } catch {}
  }

  #succeeded(): void {
    this.#onState(undefined);
    this.#onCommit();
  }

  #failed(error: unknown): unknown {
    const failure = storeErrorOf(error, this.#file);
    if (failure !== error) this.#onState(failure);
    return failure;
  }
}
