import { hash } from 'node:crypto';
import type { QuotaPolicy } from '../policy.js';
import { StoreError, unavailable } from '../store.js';
import type { SqliteDatabase, SqliteStatement } from './database.js';
import { headOf, StoredCounter, type ValueHead } from './stored-counter.js';
import { NumberWriter } from './varints.js';

/** A partition key as rows have it. Texts and bytes are never equal in SQLite. */
export type RowKey = string | Uint8Array;

/** Longer keys are stored by their hash, so that a row is small. */
const LONGEST_KEY = 128;

/** The key of a row. */
export function rowKey(key: string): RowKey {
  // UTF-8 has no lone surrogates: two keys that differ in them would become one. A zero byte may end a text.
  if (key.length <= LONGEST_KEY && key.isWellFormed() && !key.includes('\0')) return key;
  return hash('sha256', Buffer.from(key, 'utf16le'), 'buffer');
}

/** A counter, and the row that it is in. */
export interface CounterRow {
  readonly key: RowKey;
  readonly policy: QuotaPolicy;
  readonly counter: StoredCounter;
  readonly isNew: boolean;
}

interface FoundRow {
  readonly key: RowKey;
  readonly policy: string;
  readonly expires: number;
}

/** Rows of one step of the search for counters that have expired. */
const STEP = 16;
/** A step is made after so many writes: rows are looked at twice as often as they are written. */
const WRITES_TO_A_STEP = 8;
/** Rows among which a new counter looks for one to replace, if there are as many as there may be. */
const SAMPLE = 64;
/** A counter that holds this part of its limit is not forgotten. */
const KEPT_FROM = 0.5;

/** The rows of all counters. Every method belongs into a transaction. */
export class CounterRows {
  readonly #file: string;
  readonly #maxEntries: number;
  readonly #onFull: (error: StoreError) => void;
  readonly #select: SqliteStatement;
  readonly #insert: SqliteStatement;
  readonly #update: SqliteStatement;
  readonly #delete: SqliteStatement;
  readonly #next: SqliteStatement;
  readonly #info: SqliteStatement;
  readonly #count: SqliteStatement;
  readonly #writer = new NumberWriter();
  #writes = 0;
  /** Where the next step begins. */
  #hand: { readonly key: RowKey; readonly policy: string } = { key: '', policy: '' };

  /** `onFull` is called with each error of `save`. */
  constructor(database: SqliteDatabase, file: string, maxEntries: number, onFull: (error: StoreError) => void) {
    this.#file = file;
    this.#maxEntries = maxEntries;
    this.#onFull = onFull;
    this.#select = database.prepare('SELECT value FROM gatewarden_limits WHERE key = ? AND policy = ?');
    this.#insert = database.prepare('INSERT INTO gatewarden_limits (key, policy, expires, value) VALUES (?, ?, ?, ?)');
    this.#update = database.prepare('UPDATE gatewarden_limits SET expires = ?, value = ? WHERE key = ? AND policy = ?');
    this.#delete = database.prepare('DELETE FROM gatewarden_limits WHERE key = ? AND policy = ?');
    this.#next = database.prepare(
      `SELECT key, policy, expires FROM gatewarden_limits WHERE (key, policy) > (?, ?) ORDER BY key, policy LIMIT ${STEP}`,
    );
    this.#info = database.prepare('SELECT entries, token FROM gatewarden_limits_info');
    this.#count = database.prepare('UPDATE gatewarden_limits_info SET entries = entries + ?, token = max(token, ?)');
  }

  /** The counter of a policy and a key. @throws StoreError if the row cannot be read */
  load(policy: QuotaPolicy, key: RowKey): CounterRow {
    const value = this.#valueOf(key, policy.id);
    try {
      const counter = new StoredCounter(policy, value);
      if (value === undefined) counter.holds?.startAbove(this.#infoNow().token);
      return { key, policy, counter, isNew: value === undefined };
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      const what = `a counter of the policy "${policy.id}" in the SQLite file ${this.#file} cannot be read`;
      throw new StoreError('GATEWARDEN_STORE_DATA', `${what}: ${error.message}`, error);
    }
  }

  /**
   * Writes those counters that have changed, and forgets some that have expired.
   * @throws StoreError if there are too many that must not be forgotten. Then nothing was written.
   */
  save(rows: readonly CounterRow[], now: number): void {
    const added = rows.reduce((sum, { isNew, counter }) => (isNew && counter.isChanged ? sum + 1 : sum), 0);
    if (added > 0) {
      this.#makeRoom(added, rows, now);
      this.#count.run(added, 0);
    }
    for (const { key, policy, counter, isNew } of rows) {
      if (!counter.isChanged) continue;
      counter.write(this.#writer);
      if (isNew) this.#insert.run(key, policy.id, counter.liveUntil, this.#writer.bytes);
      else this.#update.run(counter.liveUntil, this.#writer.bytes, key, policy.id);
      this.#writes++;
    }
    if (this.#writes < WRITES_TO_A_STEP) return;
    this.#writes = 0;
    this.#forget(this.#step().filter((row) => row.expires <= now && !isOneOf(rows, row)));
  }

  /** Makes room for new rows by forgetting others: expired ones, or else the least used, and never one at half its limit. */
  #makeRoom(added: number, rows: readonly CounterRow[], now: number): void {
    if (this.#infoNow().entries + added <= this.#maxEntries) return;
    const found: FoundRow[] = [];
    for (let looked = 0; looked < SAMPLE; looked += STEP) found.push(...this.#step());
    const fractionOf = (row: FoundRow) => (row.expires <= now ? -1 : (this.#headOf(row)?.fraction ?? 1));
    const candidates = found
      .filter((row, i) => !isOneOf(rows, row) && found.findIndex((other) => isSame(other, row)) === i)
      .map((row) => ({ row, fraction: fractionOf(row) }))
      .filter(({ fraction }) => fraction < KEPT_FROM)
      .sort((a, b) => a.fraction - b.fraction)
      .slice(0, added);
    if (candidates.length < added) {
      const what = `the SQLite file ${this.#file} holds ${this.#maxEntries} counters that must not be forgotten`;
      const error = unavailable(`${what}; set "maxEntries" of sqliteStore higher`);
      this.#onFull(error);
      throw error;
    }
    this.#forget(candidates.map(({ row }) => row));
  }

  /** The next rows by key, from the first ones again after the last. */
  #step(): readonly FoundRow[] {
    const rows = this.#next.all(this.#hand.key, this.#hand.policy) as readonly FoundRow[];
    this.#hand = rows.length === STEP ? (rows.at(-1) as FoundRow) : { key: '', policy: '' };
    return rows;
  }

  #forget(rows: readonly FoundRow[]): void {
    let forgotten = 0;
    let token = 0;
    for (const row of rows) {
      const head = this.#headOf(row);
      if (head === undefined) continue;
      token = Math.max(token, head.lastToken);
      this.#delete.run(row.key, row.policy);
      forgotten++;
    }
    // The next hold of such a key gets a higher token than any before.
    if (forgotten > 0) this.#count.run(-forgotten, token);
  }

  /** Undefined for a row that cannot be read, which stays: its own key reports it. */
  #headOf({ key, policy }: FoundRow): ValueHead | undefined {
    try {
      return headOf(this.#valueOf(key, policy) ?? new Uint8Array());
    } catch (error) {
      if (error instanceof RangeError) return undefined;
      throw error;
    }
  }

  #valueOf(key: RowKey, policy: string): Uint8Array | undefined {
    return (this.#select.get(key, policy) as { readonly value: Uint8Array } | undefined)?.value;
  }

  #infoNow(): { readonly entries: number; readonly token: number } {
    return this.#info.get() as { readonly entries: number; readonly token: number };
  }
}

function isSame(a: { readonly key: RowKey; readonly policy: string }, b: FoundRow): boolean {
  return a.policy === b.policy && Buffer.from(a.key).equals(Buffer.from(b.key)) && typeof a.key === typeof b.key;
}

function isOneOf(rows: readonly CounterRow[], found: FoundRow): boolean {
  return rows.some(({ key, policy }) => isSame({ key, policy: policy.id }, found));
}
