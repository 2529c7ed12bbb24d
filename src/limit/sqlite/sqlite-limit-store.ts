import type { QuotaState } from '../../core/quota-state.js';
import { holds, type QuotaPolicy } from '../policy.js';
import type { Decision, Hold, LimitStore, Receipt, Violation } from '../store.js';
import { checkSettledUnits, checkUnits } from '../units.js';
import { type CounterRow, type CounterRows, type RowKey, rowKey } from './counter-rows.js';
import { storeErrorOf } from './database.js';
import type { Charged } from './stored-counter.js';
import type { Transactions } from './transactions.js';

/** A limit store in a SQLite file. Its methods return promises only while another connection has the lock. */
export interface SqliteStore extends LimitStore {
  /** Stops its timers, and closes a file that it has opened by `path`. A `database` that was passed in stays open. */
  close(): void;
}

/** What the store needs of the rest of the folder. */
export interface SqliteParts {
  readonly rows: CounterRows;
  readonly transactions: Transactions;
  /** As errors name it. */
  readonly file: string;
  /** The wall clock in whole milliseconds. */
  readonly now: () => number;
  /** How long an admission waits for the lock, in milliseconds. */
  readonly timeout: number;
  readonly close: () => void;
}

/** Corrections wait longer than admissions: no client waits for them, and what they give back would be lost. */
const CORRECTION_TIMEOUT = 10_000;
const NO_HOLDS: readonly undefined[] = Object.freeze([]);

/** What one admission has charged and holds. */
class SqliteReceipt {
  /** Policies that were settled or released. */
  readonly isSettled: boolean[];

  constructor(
    readonly store: object,
    readonly policies: readonly QuotaPolicy[],
    readonly keys: readonly RowKey[],
    readonly units: readonly number[],
    readonly charged: readonly Charged[],
  ) {
    this.isSettled = policies.map(() => false);
  }
}

/** Decisions over the counters of a SQLite file, each in one transaction. */
export class SqliteLimitStore implements SqliteStore {
  readonly #parts: SqliteParts;

  constructor(parts: SqliteParts) {
    this.#parts = parts;
  }

  admit(
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
    units: readonly number[],
  ): Decision | Promise<Decision> {
    checkUnits(policies, units);
    const rowKeys = rowKeysOf(policies, keys);
    return this.#parts.transactions.run(() => this.#admit(policies, rowKeys, units), this.#parts.timeout);
  }

  settle(receipt: Receipt, units: readonly (number | undefined)[]): void | Promise<void> {
    const own = this.#own(receipt);
    checkSettledUnits(units);
    const places = own.policies.flatMap((_, i) => (units[i] === undefined || own.isSettled[i] ? [] : [i]));
    return this.#correct(own, places, ({ counter }, i, now) =>
      counter.settle(own.charged[i] as Charged, own.units[i] as number, units[i] as number, now),
    );
  }

  renew(receipt: Receipt): boolean | Promise<boolean> {
    const own = this.#own(receipt);
    const places = heldPlaces(own);
    if (places.length === 0) return true;
    return this.#parts.transactions.run(() => {
      const now = this.#parts.now();
      const rows = this.#load(own, places);
      // All of them are renewed, also behind one that has ended.
      const renewed = rows.map(({ counter }, n) =>
        counter.renew((own.charged[places[n] as number] as Charged).time, now),
      );
      this.#parts.rows.save(rows, now);
      return renewed.every((isHeld) => isHeld);
    }, this.#parts.timeout);
  }

  release(receipt: Receipt): void | Promise<void> {
    const own = this.#own(receipt);
    return this.#correct(own, heldPlaces(own), ({ counter }, i, now) =>
      counter.release((own.charged[i] as Charged).time, now),
    );
  }

  peek(
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
  ): readonly QuotaState[] | Promise<readonly QuotaState[]> {
    const { rows, transactions, timeout, now } = this.#parts;
    const rowKeys = keys.map(rowKey);
    const look = (isInTransaction: boolean) => {
      const time = now();
      const found = policies.map((policy, i) => rows.load(policy, rowKeys[i] as RowKey));
      const states = found.map(({ counter }) => counter.state(time));
      const isChanged = found.some(({ counter }) => counter.isChanged);
      if (isChanged && isInTransaction) rows.save(found, time);
      return isChanged && !isInTransaction ? undefined : states;
    };
    let states: readonly QuotaState[] | undefined;
    try {
      states = look(false);
    } catch (error) {
      throw storeErrorOf(error, this.#parts.file);
    }
    // What a wrong clock has left, or a hold that has expired, is written, so that it stays so.
    return states ?? transactions.run(() => look(true) as readonly QuotaState[], timeout);
  }

  reset(policies: readonly QuotaPolicy[], keys: readonly string[]): void | Promise<void> {
    const { rows, transactions, now } = this.#parts;
    const rowKeys = keys.map(rowKey);
    return transactions.run(() => {
      const time = now();
      const found = policies.map((policy, i) => rows.load(policy, rowKeys[i] as RowKey)).filter(({ isNew }) => !isNew);
      for (const { counter } of found) counter.clear(time);
      rows.save(found, time);
    }, CORRECTION_TIMEOUT);
  }

  close(): void {
    this.#parts.close();
  }

  #admit(policies: readonly QuotaPolicy[], keys: readonly RowKey[], units: readonly number[]): Decision {
    const { rows } = this.#parts;
    const at = this.#parts.now();
    const found = policies.map((policy, i) => rows.load(policy, keys[i] as RowKey));
    const fits = found.map(({ counter }, i) => counter.fits(units[i] as number, at));
    if (!fits.every((one) => one)) {
      const states = found.map(({ counter }) => counter.state(at));
      const violations: Violation[] = [];
      for (const [i, { counter }] of found.entries()) {
        if (fits[i]) continue;
        violations.push({ state: states[i] as QuotaState, retryAt: counter.retryAt(units[i] as number, at) });
      }
      rows.save(found, at);
      return { kind: 'refused', at, states, violations };
    }
    const charged = found.map(({ counter }, i) => counter.charge(units[i] as number, at));
    rows.save(found, at);
    return {
      kind: 'admitted',
      at,
      states: found.map(({ counter }) => counter.state(at)),
      holds: policies.some(holds) ? policies.map((policy, i) => holdOf(policy, charged[i] as Charged)) : NO_HOLDS,
      receipt: new SqliteReceipt(this, policies, keys, units, charged),
    };
  }

  /** Corrects some policies of an admission, each once. If the file cannot be used, they can be corrected later. */
  #correct(
    own: SqliteReceipt,
    places: readonly number[],
    change: (row: CounterRow, place: number, now: number) => void,
  ): void | Promise<void> {
    if (places.length === 0) return;
    const mark = (isSettled: boolean) => {
      for (const i of places) own.isSettled[i] = isSettled;
    };
    const work = () => {
      const now = this.#parts.now();
      const rows = this.#load(own, places);
      for (const [n, i] of places.entries()) change(rows[n] as CounterRow, i, now);
      this.#parts.rows.save(rows, now);
    };
    const failed = (error: unknown): never => {
      mark(false);
      throw error;
    };
    mark(true);
    try {
      const done = this.#parts.transactions.run(work, CORRECTION_TIMEOUT);
      return done === undefined ? undefined : done.catch(failed);
    } catch (error) {
      return failed(error);
    }
  }

  #load({ policies, keys }: SqliteReceipt, places: readonly number[]): readonly CounterRow[] {
    return places.map((i) => this.#parts.rows.load(policies[i] as QuotaPolicy, keys[i] as RowKey));
  }

  #own(receipt: Receipt): SqliteReceipt {
    if (receipt instanceof SqliteReceipt && receipt.store === this) return receipt;
    throw new TypeError('gatewarden: this receipt is not from this sqliteStore');
  }
}

/** The policies of an admission under which it still holds something. */
function heldPlaces({ policies, isSettled }: SqliteReceipt): readonly number[] {
  return policies.flatMap((policy, i) => (holds(policy) && !isSettled[i] ? [i] : []));
}

function holdOf(policy: QuotaPolicy, { slot, time }: Charged): Hold | undefined {
  return holds(policy) ? { slot, token: time } : undefined;
}

/** The keys of the rows of an admission. @throws RangeError if it names a counter twice, or none */
function rowKeysOf(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly RowKey[] {
  if (policies.length === 0) throw new RangeError('gatewarden: an admission needs at least one policy');
  for (let i = 1; i < policies.length; i++) {
    for (let j = 0; j < i; j++) {
      if (policies[j]?.id !== policies[i]?.id || keys[j] !== keys[i]) continue;
      throw new RangeError(`gatewarden: one admission names policy "${policies[i]?.name}" twice for the same key`);
    }
  }
  return policies.map((_, i) => rowKey(keys[i] as string));
}
