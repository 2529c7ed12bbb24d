import { checkOptionNames, clock, type OptionNames, positiveInteger } from '../core/option.js';
import { EndedJobs } from './ended-jobs.js';
import { changed, hasEnded, isAllowed } from './job-change.js';
import {
  type AdoptedJob,
  type CreatedJob,
  type JobChange,
  type JobRecord,
  type JobStore,
  type JobTask,
  LOST,
  type NewJob,
} from './job-store.js';

/** Options of `memoryJobStore`. */
export interface MemoryJobStoreOptions {
  /**
   * The most jobs that are kept. When it is full, a job that has ended is forgotten: the first one of the owner with the
   * most of them. While none has ended, new jobs are refused. Default 10,000, at most 1,000,000.
   */
  readonly maxJobs?: number | undefined;
  /** The clock, in epoch milliseconds. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** A job store in memory. It answers without a promise. */
export interface MemoryJobStore extends JobStore {
  create(job: NewJob): CreatedJob;
  read(id: string): JobRecord | undefined;
  change(id: string, holder: string, change: JobChange): JobRecord | undefined;
  renew(id: string, holder: string, lease: number): JobRecord | undefined;
  cancel(id: string): JobRecord | undefined;
  adopt(names: readonly string[], holder: string, lease: number): AdoptedJob | undefined;
  list(limit: number): readonly JobRecord[];
  /** The number of jobs that are kept now, for gauges. */
  readonly size: number;
}

interface Entry {
  record: JobRecord;
  holder: string;
  /** When the holder counts as dead. */
  leaseUntil: number;
  readonly ttl: number;
  /** Until it starts. */
  task: JobTask | undefined;
  readonly listeners: Set<() => void>;
}

const FACTORY = 'memoryJobStore';
const OPTIONS: OptionNames<MemoryJobStoreOptions> = { maxJobs: true, now: true };

/**
 * Keeps jobs in this process, and forgets them with it. It is bounded and needs no timer.
 *
 * ```ts
 * const queue = jobs({ store: memoryJobStore() })
 * ```
 * @throws OptionError
 */
export function memoryJobStore(options: MemoryJobStoreOptions = {}): MemoryJobStore {
  checkOptionNames(FACTORY, options, OPTIONS);
  const maxJobs = positiveInteger(FACTORY, 'maxJobs', options.maxJobs ?? 10_000, 1_000_000);
  return new Jobs(maxJobs, clock(FACTORY, options.now));
}

class Jobs implements MemoryJobStore {
  readonly #maxJobs: number;
  readonly #now: () => number;
  /** In the order of creation. */
  readonly #entries = new Map<string, Entry>();
  readonly #ended = new EndedJobs<Entry>();
  /** No lease ends before. */
  #nextLapse = Number.POSITIVE_INFINITY;

  constructor(maxJobs: number, now: () => number) {
    this.#maxJobs = maxJobs;
    this.#now = now;
  }

  get size(): number {
    return this.#entries.size;
  }

  create({ id, owner, holder, lease, ttl, task }: NewJob): CreatedJob {
    const now = this.#now();
    if (this.#current(id, now) !== undefined) return { kind: 'exists' };
    this.#forgetExpired(now);
    if (this.#entries.size >= this.#maxJobs && !this.#makeRoom(now)) return { kind: 'full' };
    const record: JobRecord = {
      id,
      owner,
      state: 'queued',
      version: 1,
      createdAt: now,
      startedAt: undefined,
      endedAt: undefined,
      expiresAt: undefined,
      place: undefined,
      progress: undefined,
      cancelRequested: false,
      result: undefined,
      files: [],
      problem: undefined,
    };
    this.#entries.set(id, { record, holder, leaseUntil: now + lease, ttl, task, listeners: new Set() });
    this.#nextLapse = Math.min(this.#nextLapse, now + lease);
    return { kind: 'created', record };
  }

  read(id: string): JobRecord | undefined {
    return this.#current(id, this.#now())?.record;
  }

  change(id: string, holder: string, change: JobChange): JobRecord | undefined {
    const now = this.#now();
    const entry = this.#held(id, holder, now);
    if (entry === undefined || !isAllowed(entry.record.state, change)) return undefined;
    this.#update(entry, changed(change, now));
    if (change.kind === 'end') this.#end(entry, now);
    return entry.record;
  }

  renew(id: string, holder: string, lease: number): JobRecord | undefined {
    const now = this.#now();
    const entry = this.#held(id, holder, now);
    if (entry === undefined) return undefined;
    this.#lease(entry, now + lease);
    return entry.record;
  }

  cancel(id: string): JobRecord | undefined {
    const now = this.#now();
    const entry = this.#current(id, now);
    if (entry === undefined) return undefined;
    const { state, cancelRequested } = entry.record;
    if (state === 'queued') {
      this.#update(entry, changed({ kind: 'end', state: 'cancelled' }, now));
      this.#end(entry, now);
    } else if (state === 'running' && !cancelRequested) {
      this.#update(entry, { cancelRequested: true });
    }
    return entry.record;
  }

  adopt(names: readonly string[], holder: string, lease: number): AdoptedJob | undefined {
    const now = this.#now();
    if (now < this.#nextLapse) return undefined;
    for (const id of [...this.#entries.keys()]) {
      const entry = this.#current(id, now);
      if (entry?.task === undefined || entry.record.state !== 'queued' || now < entry.leaseUntil) continue;
      if (!names.includes(entry.task.name)) continue;
      entry.holder = holder;
      this.#lease(entry, now + lease);
      return { record: entry.record, task: entry.task };
    }
    return undefined;
  }

  list(limit: number): readonly JobRecord[] {
    const now = this.#now();
    const ids = [...this.#entries.keys()].slice(-limit).reverse();
    return ids.flatMap((id) => this.#current(id, now)?.record ?? []);
  }

  watch(id: string, onChange: () => void): () => void {
    const listeners = this.#entries.get(id)?.listeners;
    // A function of its own, since two watchers may pass the same one.
    const listener = () => onChange();
    listeners?.add(listener);
    return () => void listeners?.delete(listener);
  }

  /** A live entry that this holder holds. */
  #held(id: string, holder: string, now: number): Entry | undefined {
    const entry = this.#current(id, now);
    if (entry === undefined || hasEnded(entry.record.state)) return undefined;
    return entry.holder === holder && now < entry.leaseUntil ? entry : undefined;
  }

  /** The entry as it is now. */
  #current(id: string, now: number): Entry | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined) return undefined;
    if (!hasEnded(entry.record.state) && now >= entry.leaseUntil) this.#lapse(entry, now);
    const { expiresAt } = entry.record;
    if (expiresAt !== undefined && now >= expiresAt) this.#forget(entry);
    return this.#entries.get(id);
  }

  /** The holder is dead. */
  #lapse(entry: Entry, now: number): void {
    const { leaseUntil, ttl, task, record } = entry;
    if (task !== undefined && record.state === 'queued') {
      if (now >= leaseUntil + ttl) this.#forget(entry);
      return;
    }
    this.#update(entry, changed({ kind: 'end', state: 'failed', problem: LOST }, leaseUntil));
    this.#end(entry, leaseUntil);
  }

  #lease(entry: Entry, until: number): void {
    entry.leaseUntil = until;
    this.#nextLapse = Math.min(this.#nextLapse, until);
  }

  #end(entry: Entry, at: number): void {
    entry.record = { ...entry.record, endedAt: at, expiresAt: at + entry.ttl };
    this.#ended.add(entry);
    notify(entry);
  }

  #update(entry: Entry, parts: Partial<JobRecord>): void {
    entry.record = { ...entry.record, ...parts, version: entry.record.version + 1 };
    if (entry.record.state !== 'queued') entry.task = undefined;
    if (!hasEnded(entry.record.state)) notify(entry);
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.record.id);
    this.#ended.delete(entry);
    notify(entry);
  }

  #forgetExpired(now: number): void {
    for (let entry = this.#ended.first(); entry !== undefined; entry = this.#ended.first()) {
      if (now < (entry.record.expiresAt ?? 0)) return;
      this.#forget(entry);
    }
  }

  #makeRoom(now: number): boolean {
    if (this.#ended.size === 0 && now >= this.#nextLapse) {
      for (const id of [...this.#entries.keys()]) this.#current(id, now);
      this.#nextLapse = Number.POSITIVE_INFINITY;
      for (const { leaseUntil, record } of this.#entries.values()) {
        if (!hasEnded(record.state)) this.#nextLapse = Math.min(this.#nextLapse, leaseUntil);
      }
    }
    const ended = this.#ended.firstOfMost();
    if (ended !== undefined) this.#forget(ended);
    return this.#entries.size < this.#maxJobs;
  }
}

function notify({ listeners }: Entry): void {
  for (const listener of [...listeners]) listener();
}
