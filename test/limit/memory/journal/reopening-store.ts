import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { QuotaState } from '../../../../src/core/quota-state.js';
import type { CounterTable } from '../../../../src/limit/memory/counter-table.js';
import { JournaledStore } from '../../../../src/limit/memory/journal/journaled-store.js';
import { nodeModules } from '../../../../src/limit/memory/journal/node-modules.js';
import type { JournalInternals } from '../../../../src/limit/memory/journal/open-journal.js';
import { MemoryCharge } from '../../../../src/limit/memory/memory-admission.js';
import type { MemoryStore } from '../../../../src/limit/memory/memory-store.js';
import { GivenClock } from '../../../../src/limit/memory/store-clock.js';
import type { QuotaPolicy } from '../../../../src/limit/policy.js';
import type { QueueSettings, WaitingQueue } from '../../../../src/limit/queue/waiting-queue.js';
import type { Decision, Receipt } from '../../../../src/limit/store.js';

/** In memory, where the system has such a directory: these tests make thousands of files. */
export const SCRATCH = fs.existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/** The files of the runtime, without waiting for the disk: no test cuts the power. */
export const QUICK: JournalInternals = (() => {
  const modules = nodeModules();
  const nothing = () => undefined;
  const quick = {
    ...modules.fs,
    fdatasyncSync: nothing,
    fsyncSync: nothing,
    fdatasync: (_descriptor: number, done: (error: null) => void) => setImmediate(done, null),
  };
  return {
    modules: { ...modules, fs: quick as unknown as typeof fs },
    longestUnwritten: 0,
    smallestFile: 8192,
  };
})();

class OpenedStore extends JournaledStore {
  tableNamed(id: string): CounterTable | undefined {
    return this.tables.get(id);
  }
}

export interface ReopeningOptions {
  readonly now: () => number;
  readonly maxEntries?: number | undefined;
  readonly sync?: 'each' | 'turn';
  /** Whether to reopen before the next call. By default always. */
  readonly isDue?: () => boolean;
}

/**
 * Says of each call whether to reopen before it: if it `isWanted`, by its number, and the clock was never set back. While a
 * clock that was passed in is set back, what a call only looks at counts as charged at its look. A journal has changes, not
 * looks: after a restart, it counts from the next look on, which is later.
 */
export function dueUntilSetBack(clock: { now(): number }, isWanted: (call: number) => boolean): () => boolean {
  let calls = 0;
  let latest = 0;
  let wasSetBack = false;
  return () => {
    wasSetBack ||= clock.now() < latest;
    latest = clock.now();
    return !wasSetBack && isWanted(++calls);
  };
}

/**
 * A store that is closed or crashes between two calls, and is opened again from its journal. Receipts stay valid, which they
 * do not for a service: what is admitted is forgotten with its process.
 */
export class ReopeningStore implements MemoryStore {
  readonly #clock: GivenClock;
  readonly #options: ReopeningOptions;
  readonly #parent = fs.mkdtempSync(join(SCRATCH, 'gatewarden-'));
  readonly #charges = new Map<Receipt, MemoryCharge>();
  #opened = 0;
  #store: OpenedStore;
  /** Called after each time it was opened again. */
  onReopened: () => void = () => undefined;

  constructor(options: ReopeningOptions) {
    this.#options = options;
    this.#clock = new GivenClock(options.now);
    this.#store = this.#open();
  }

  get size(): number {
    return this.#store.size;
  }

  /** How often it was opened. */
  get opened(): number {
    return this.#opened;
  }

  admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: readonly number[]): Decision {
    const decision = this.#next().admit(policies, keys, units);
    if (decision.kind === 'admitted' && decision.receipt instanceof MemoryCharge) {
      this.#charges.set(decision.receipt, decision.receipt);
    }
    return decision;
  }

  settle(receipt: Receipt, units: readonly (number | undefined)[]): void {
    this.#next().settle(this.#charges.get(receipt) ?? receipt, units);
  }

  renew(receipt: Receipt): boolean {
    return this.#next().renew(this.#charges.get(receipt) ?? receipt);
  }

  release(receipt: Receipt): void {
    this.#next().release(this.#charges.get(receipt) ?? receipt);
  }

  peek(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly QuotaState[] {
    return this.#next().peek(policies, keys);
  }

  reset(policies: readonly QuotaPolicy[], keys: readonly string[]): void {
    this.#next().reset(policies, keys);
  }

  queue(settings: QueueSettings): WaitingQueue {
    return this.#store.queue(settings);
  }

  close(): void {
    this.#store.close();
  }

  /** The first charge of an admission, as it is in the counters by now. Its generation is -1 if its counter is gone. */
  chargeOf(receipt: Receipt): MemoryCharge {
    const charge = this.#charges.get(receipt);
    if (charge === undefined) throw new Error('not a receipt of this store');
    return charge;
  }

  /** Closes it, and removes its files once no write is under way. */
  async remove(): Promise<void> {
    this.#store.close();
    await fs.promises.rm(this.#parent, { recursive: true, maxRetries: 20, retryDelay: 20 });
  }

  #next(): OpenedStore {
    if (this.#options.isDue?.() === false) return this.#store;
    const former = this.#store;
    const crashes = this.#opened % 2 === 0 && this.#options.sync !== 'turn';
    if (crashes) {
      const [from, to] = [this.#directory(this.#opened), this.#directory(this.#opened + 1)];
      fs.cpSync(from, to, { recursive: true, filter: (path) => !path.endsWith('lock') });
    }
    former.close();
    if (!crashes) fs.renameSync(this.#directory(this.#opened), this.#directory(this.#opened + 1));
    this.#store = this.#open();
    for (const [receipt, charge] of this.#charges) this.#charges.set(receipt, this.#translated(charge, former));
    this.onReopened();
    return this.#store;
  }

  #open(): OpenedStore {
    const { sync = 'each', maxEntries = 1_000_000 } = this.#options;
    const settings = {
      directory: this.#directory(++this.#opened),
      sync,
      mode: 'refuse',
      onEvent: undefined,
    } as const;
    return new OpenedStore(maxEntries, this.#clock, true, settings, QUICK);
  }

  #directory(number: number): string {
    return join(this.#parent, String(number));
  }

  /** The same charge, in the counters of the store that was opened. */
  #translated(charge: MemoryCharge, former: OpenedStore): MemoryCharge {
    const { policy, units, slot, counters, hold } = charge;
    const table = this.#store.tableNamed(policy.id);
    const isShared = former.tableNamed(policy.id)?.counters !== counters;
    const present = isShared ? table?.shared?.counters : table?.counters;
    const translated = new MemoryCharge(policy, units, present ?? counters, slot);
    const isSame = present?.isTaken(slot) === true && counters.generation(slot) === charge.generation;
    return Object.assign(translated, {
      stage: charge.stage,
      now: charge.now,
      offset: charge.offset,
      ahead: charge.ahead,
      generation: isSame ? present.generation(slot) : -1,
      hold: present?.holds?.list(slot).find(({ token }) => token === hold?.token) ?? hold,
      next: charge.next === undefined ? undefined : this.#translated(charge.next, former),
    });
  }
}
