import type { QuotaPolicy } from '../../policy.js';
import type { CounterNotes } from '../counter-notes.js';
import type { CounterTable } from '../counter-table.js';
import type { Counters } from '../counters.js';
import type { MemoryHold } from '../holds.js';
import type { MemoryCharge } from '../memory-admission.js';
import {
  addCharge,
  addClear,
  addCorrection,
  addEnd,
  addHold,
  addPolicy,
  addRenewal,
  addTake,
} from './change-records.js';
import { CounterCopy } from './counter-copy.js';
import { countAlike, declare } from './declared-policy.js';
import type { JournalWriter } from './journal-writer.js';
import { KnownCounters } from './known-counters.js';
import type { Replay } from './replay.js';

/** Between two parts of a copy, in milliseconds, so that requests are answered in between. */
const PAUSE = 1;

/** Writes down what changes in the counters of a store. */
export class CounterJournal implements CounterNotes {
  readonly #writer: JournalWriter;
  readonly #tables: ReadonlyMap<string, CounterTable>;
  /** Windows that are not longer are not written, in milliseconds. */
  readonly #longestUnwritten: number;
  #nextId = 1;
  #copy: CounterCopy | undefined;
  #copyTimer: NodeJS.Timeout | undefined;

  constructor(writer: JournalWriter, tables: ReadonlyMap<string, CounterTable>, longestUnwritten: number) {
    this.#writer = writer;
    this.#tables = tables;
    this.#longestUnwritten = longestUnwritten;
    writer.onNewFile = (isNow) => this.#beginCopy(isNow);
  }

  /** Takes over the counters that earlier files have. */
  takeOver({ restored }: Replay): void {
    for (const [counters, { table, policy, shared }] of restored) {
      const known = this.#newKnown(policy, shared === undefined ? table : undefined, shared);
      counters.known = known;
      const slots = shared?.count ?? table.started;
      for (let slot = 0; slot < slots; slot++) {
        if (counters.isTaken(slot)) known.add(slot, counters.generation(slot));
      }
    }
  }

  /** Returns false if it cannot be written now. */
  charged(first: MemoryCharge): boolean {
    const { buffer } = this.#writer;
    for (let charge: MemoryCharge | undefined = first; charge !== undefined; charge = charge.next) {
      const { counters, policy, slot, generation, hold } = charge;
      const known = counters.known ?? this.#learn(counters, policy);
      if (!this.#isDeclared(known, policy)) continue;
      if (!known.has(slot, generation)) {
        addTake(buffer, known.id, slot, known.keys?.keyOf(slot) ?? '', policy.limit);
        known.add(slot, generation);
      }
      if (hold === undefined) addCharge(buffer, known.id, charge);
      else addHold(buffer, known.id, slot, hold, policy.limit);
    }
    return this.#writer.commit();
  }

  /** The charges of a request that was not admitted after all. */
  undone(first: MemoryCharge): void {
    const { buffer } = this.#writer;
    for (let charge: MemoryCharge | undefined = first; charge !== undefined; charge = charge.next) {
      const { counters, policy, slot, hold, units, now } = charge;
      const { known, log } = counters;
      if (hold !== undefined) counters.release(slot, hold);
      else log?.correct(slot, now + charge.ahead, -units, counters.now);
      if (known === undefined || !this.#isDeclared(known, policy)) continue;
      if (hold !== undefined) addEnd(buffer, known.id, slot, hold, 0, counters.now);
      else addCorrection(buffer, known.id, charge, -units, counters.now, true);
    }
  }

  settled(charge: MemoryCharge, units: number): void {
    const { counters, policy, slot, hold } = charge;
    const { known } = counters;
    if (known === undefined || !this.#isDeclared(known, policy)) return;
    const { buffer } = this.#writer;
    const used = counters.log === undefined ? 0 : units;
    if (hold !== undefined) addEnd(buffer, known.id, slot, hold, used, counters.now);
    else addCorrection(buffer, known.id, charge, units - charge.units, counters.now, false);
  }

  renewed({ counters, policy, slot }: MemoryCharge, hold: MemoryHold): void {
    const { known } = counters;
    if (known === undefined || !this.#isDeclared(known, policy)) return;
    addRenewal(this.#writer.buffer, known.id, slot, hold);
  }

  released({ counters, policy, slot }: MemoryCharge, hold: MemoryHold): void {
    const { known } = counters;
    if (known === undefined || !this.#isDeclared(known, policy)) return;
    addEnd(this.#writer.buffer, known.id, slot, hold, 0, counters.now);
  }

  cleared({ known }: Counters, slot: number): void {
    if (known === undefined || !this.#isDeclared(known, known.policy)) return;
    addClear(this.#writer.buffer, known.id, slot);
  }

  commit(): void {
    // What cannot be written now is written later: it gives no quota away.
    this.#writer.commit();
  }

  /** Writes all counters to the file at once, so that no earlier one is needed. */
  copyNow(): void {
    this.#writer.isCopying = true;
    this.#beginCopy(true);
  }

  close(): void {
    clearTimeout(this.#copyTimer);
    this.#copy = undefined;
    this.#writer.close();
  }

  /** Declares counters if the file does not have them as they are. Returns whether they are written at all. */
  #isDeclared(known: KnownCounters, policy: QuotaPolicy): boolean {
    if (!known.areWritten || this.#writer.isClosed) return false;
    const { index } = this.#writer.file.header;
    // Two guards may have policies that are the same, and a limit may be made for each request.
    if (known.declaredIn === index && countAlike(known.policy, policy)) return true;
    addPolicy(this.#writer.buffer, known.id, JSON.stringify(declare(policy, known.shared)));
    known.declaredIn = index;
    known.policy = policy;
    return true;
  }

  #learn(counters: Counters, policy: QuotaPolicy): KnownCounters {
    const table = this.#tables.get(policy.id);
    const { shared } = table ?? {};
    const isShared = shared !== undefined && shared.counters === counters;
    const known = this.#newKnown(policy, isShared ? undefined : table, isShared ? shared : undefined);
    counters.known = known;
    return known;
  }

  #newKnown(policy: QuotaPolicy, keys: CounterTable | undefined, shared: KnownCounters['shared']): KnownCounters {
    const isWritten = policy.kind !== 'sliding-window' || policy.window > this.#longestUnwritten;
    const assigned = shared === undefined ? undefined : { secret: shared.secret, count: shared.count };
    return new KnownCounters(this.#nextId++, policy, keys, assigned, isWritten);
  }

  #beginCopy(isNow: boolean): void {
    clearTimeout(this.#copyTimer);
    const copy = new CounterCopy(this.#writer, this.#tables.values(), (known) => this.#isDeclared(known, known.policy));
    this.#copy = copy;
    if (!isNow) {
      this.#copyOn();
      return;
    }
    while (!copy.next()) if (this.#writer.failure() !== undefined) throw this.#writer.failure();
    this.#copy = undefined;
    this.#writer.copied(true);
  }

  #copyOn(): void {
    this.#copyTimer = setTimeout(() => {
      const copy = this.#copy;
      if (copy === undefined) return;
      if (!copy.next()) return this.#copyOn();
      this.#copy = undefined;
      this.#writer.copied(false);
    }, PAUSE);
    this.#copyTimer.unref();
  }
}
