import { holds, type QuotaPolicy } from '../../policy.js';
import type { Decision, Receipt } from '../../store.js';
import { MemoryCharge } from '../memory-admission.js';
import { MemoryLimitStore } from '../memory-limit-store.js';
import type { StoreClock } from '../store-clock.js';
import type { CounterJournal } from './counter-journal.js';
import type { JournalSettings, OnJournalFailure } from './journal-options.js';
import type { JournalWriter } from './journal-writer.js';
import { type JournalInternals, openJournal } from './open-journal.js';

/** The receipt of a request that was admitted and not counted. */
class Uncounted {}

const NO_HOLDS: readonly undefined[] = Object.freeze([]);

/** Counts in memory, and writes each change to a journal before its answer is known. */
export class JournaledStore extends MemoryLimitStore {
  readonly #journal: CounterJournal;
  readonly #writer: JournalWriter;
  readonly #mode: OnJournalFailure;

  constructor(
    maxEntries: number,
    clock: StoreClock,
    isClockGiven: boolean,
    settings: JournalSettings,
    internals: JournalInternals = {},
  ) {
    super(maxEntries, clock);
    this.#mode = settings.mode;
    const tableOf = (policy: QuotaPolicy) => this.tableOf(policy);
    const opened = openJournal(settings, { clock, isClockGiven, tables: this.tables, tableOf }, internals);
    this.#journal = opened.journal;
    this.#writer = opened.writer;
    this.notes = this.#journal;
    openStores.add(this);
    closeAtExit();
  }

  override admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: readonly number[]): Decision {
    const failure = this.#writer.failure();
    if (failure !== undefined && (this.#mode !== 'local' || this.#writer.isClosed)) {
      return this.#without(policies, failure);
    }
    const decision = super.admit(policies, keys, units);
    if (!(decision instanceof MemoryCharge) || this.#journal.charged(decision) || this.#mode === 'local') {
      return decision;
    }
    // The request that finds out. What it was charged is in no answer.
    this.#journal.undone(decision);
    return this.#without(policies, this.#writer.failure() ?? new Error('gatewarden: the journal was not written'));
  }

  override settle(receipt: Receipt, units: readonly (number | undefined)[]): void {
    if (!(receipt instanceof Uncounted)) super.settle(receipt, units);
  }

  override renew(receipt: Receipt): boolean {
    return receipt instanceof Uncounted || super.renew(receipt);
  }

  override release(receipt: Receipt): void {
    if (!(receipt instanceof Uncounted)) super.release(receipt);
  }

  override close(): void {
    openStores.delete(this);
    this.#journal.close();
  }

  /** Decides about a request that cannot be written down. */
  #without(policies: readonly QuotaPolicy[], failure: Error): Decision {
    if (this.#mode !== 'admit' || this.#writer.isClosed || policies.some(holds)) throw failure;
    this.clock.read();
    return { kind: 'admitted', at: this.clock.wall, states: [], holds: NO_HOLDS, receipt: new Uncounted() };
  }
}

const openStores = new Set<JournaledStore>();
let closesAtExit = false;

/** A process that ends by itself writes what is left, and leaves its directories to the next. */
function closeAtExit(): void {
  if (closesAtExit) return;
  closesAtExit = true;
  process.on('exit', () => {
    for (const store of openStores) store.close();
  });
}
