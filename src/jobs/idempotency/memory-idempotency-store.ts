import { checkOptionNames, clock, type OptionNames, positiveInteger } from '../../core/option.js';
import { bytes, type Size } from '../../core/size.js';
import type { Begun, IdempotencyAnswer, IdempotencyStore } from './idempotency-store.js';
import { withoutBody } from './recorded-answer.js';

/** Options of `memoryIdempotencyStore`. */
export interface MemoryIdempotencyStoreOptions {
  /**
   * The largest number of keys held at a time, about 500 bytes each and their answers. While all are in use, requests with
   * new keys are refused with 503. Default 100,000, at most 10,000,000.
   */
  readonly maxEntries?: number | undefined;
  /**
   * The largest number of keys of one client, so that it cannot use up the room of the others. Requests of that client with
   * new keys are then refused with 503. Default a tenth of `maxEntries`.
   */
  readonly maxEntriesPerClient?: number | undefined;
  /**
   * The largest size of all answers together. If there are more, the oldest ones are no longer repeated: such a repeat is
   * refused with 409, and does not run again. Default `'64mb'`.
   */
  readonly maxBytes?: Size | undefined;
  /** The clock, in epoch milliseconds. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** An idempotency store in memory. It answers without a promise. */
export interface MemoryIdempotencyStore extends IdempotencyStore {
  begin(key: string, fingerprint: string, holder: string, lease: number): Begun;
  renew(key: string, holder: string, lease: number): boolean;
  finish(key: string, fingerprint: string, holder: string, answer: IdempotencyAnswer, ttl: number): boolean;
  release(key: string, holder: string): void;
  /** The number of keys held now, for gauges. */
  readonly size: number;
  /** The size of the answers held now, in bytes. */
  readonly bytes: number;
}

interface Entry {
  readonly fingerprint: string;
  readonly holder: string;
  until: number;
  answer: IdempotencyAnswer | undefined;
  size: number;
}

const FACTORY = 'memoryIdempotencyStore';
const OPTIONS: OptionNames<MemoryIdempotencyStoreOptions> = {
  maxEntries: true,
  maxEntriesPerClient: true,
  maxBytes: true,
  now: true,
};

/** Expired entries removed in each call: more than a call can add. */
const REMOVED_PER_CALL = 2;
/** How often a full store is searched for expired entries, in milliseconds. */
const SEARCH_INTERVAL = 1000;

/**
 * Remembers idempotency keys and answers in this process. It is bounded and needs no timer. Use it for one process only: it
 * is empty after a restart, and processes do not share it.
 *
 * ```ts
 * idempotent({ store: memoryIdempotencyStore({ maxEntries: 10_000 }) })
 * ```
 * @throws OptionError
 */
export function memoryIdempotencyStore(options: MemoryIdempotencyStoreOptions = {}): MemoryIdempotencyStore {
  checkOptionNames(FACTORY, options, OPTIONS);
  const maxEntries = positiveInteger(FACTORY, 'maxEntries', options.maxEntries ?? 100_000, 10_000_000);
  const perClient = options.maxEntriesPerClient ?? Math.ceil(maxEntries / 10);
  const limits: Limits = {
    maxEntries,
    maxEntriesPerClient: positiveInteger(FACTORY, 'maxEntriesPerClient', perClient, maxEntries),
    maxBytes: bytes(FACTORY, 'maxBytes', options.maxBytes ?? '64mb'),
  };
  return new Entries(limits, clock(FACTORY, options.now));
}

interface Limits {
  readonly maxEntries: number;
  readonly maxEntriesPerClient: number;
  readonly maxBytes: number;
}

class Entries implements MemoryIdempotencyStore {
  readonly #limits: Limits;
  readonly #now: () => number;
  /** In the order in which they were begun or answered. */
  readonly #entries = new Map<string, Entry>();
  /** The keys whose answers have bytes, the oldest first. */
  readonly #sized = new Set<string>();
  /** The number of keys of each client. */
  readonly #clients = new Map<string, number>();
  #bytes = 0;
  #searchedAt = Number.NEGATIVE_INFINITY;

  constructor(limits: Limits, now: () => number) {
    this.#limits = limits;
    this.#now = now;
  }

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  begin(key: string, fingerprint: string, holder: string, lease: number): Begun {
    const now = this.#now();
    this.#removeExpired(now);
    const known = this.#live(key, now);
    if (known?.answer !== undefined) return { kind: 'answered', fingerprint: known.fingerprint, answer: known.answer };
    if (known !== undefined && known.holder !== holder) return { kind: 'running', fingerprint: known.fingerprint };
    if (known === undefined && !this.#hasRoom(key, now)) return { kind: 'full' };
    this.#add(key, { fingerprint, holder, until: now + lease, answer: undefined, size: 0 });
    return { kind: 'new' };
  }

  renew(key: string, holder: string, lease: number): boolean {
    const now = this.#now();
    const known = this.#live(key, now);
    if (known === undefined || known.holder !== holder || known.answer !== undefined) return false;
    known.until = now + lease;
    return true;
  }

  finish(key: string, fingerprint: string, holder: string, answer: IdempotencyAnswer, ttl: number): boolean {
    const now = this.#now();
    const known = this.#live(key, now);
    if (known !== undefined && known.holder !== holder) return false;
    const size = sizeOf(answer);
    this.#add(key, { fingerprint, holder, until: now + ttl, answer, size });
    if (size > 0) this.#sized.add(key);
    this.#bytes += size;
    for (const oldest of this.#sized) {
      if (this.#bytes <= this.#limits.maxBytes) break;
      this.#forgetBody(oldest);
    }
    return true;
  }

  release(key: string, holder: string): void {
    const known = this.#entries.get(key);
    if (known?.holder === holder && known.answer === undefined) this.#remove(key);
  }

  /** The entry of a key that has not expired. */
  #live(key: string, now: number): Entry | undefined {
    const known = this.#entries.get(key);
    if (known === undefined || now < known.until) return known;
    this.#remove(key);
    return undefined;
  }

  #removeExpired(now: number): void {
    let left = REMOVED_PER_CALL;
    for (const [key, { until }] of this.#entries) {
      if (left-- === 0 || now < until) return;
      this.#remove(key);
    }
  }

  #hasRoom(key: string, now: number): boolean {
    if (this.#fits(key)) return true;
    // Entries of different lengths of time are not in the order in which they expire.
    if (Math.abs(now - this.#searchedAt) < SEARCH_INTERVAL) return false;
    this.#searchedAt = now;
    for (const [other, { until }] of this.#entries) if (!(now < until)) this.#remove(other);
    return this.#fits(key);
  }

  #fits(key: string): boolean {
    const { maxEntries, maxEntriesPerClient } = this.#limits;
    return this.#entries.size < maxEntries && (this.#clients.get(clientOf(key)) ?? 0) < maxEntriesPerClient;
  }

  #add(key: string, entry: Entry): void {
    this.#remove(key);
    this.#entries.set(key, entry);
    const client = clientOf(key);
    this.#clients.set(client, (this.#clients.get(client) ?? 0) + 1);
  }

  #remove(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#bytes -= entry.size;
    this.#sized.delete(key);
    this.#entries.delete(key);
    const client = clientOf(key);
    const others = (this.#clients.get(client) ?? 1) - 1;
    if (others === 0) this.#clients.delete(client);
    else this.#clients.set(client, others);
  }

  #forgetBody(key: string): void {
    const entry = this.#entries.get(key);
    this.#sized.delete(key);
    if (entry?.answer === undefined) return;
    this.#bytes -= entry.size;
    entry.size = 0;
    entry.answer = withoutBody(entry.answer);
  }
}

/** The bytes of an answer that can be forgotten. */
function sizeOf({ headers, body }: IdempotencyAnswer): number {
  if (body === undefined) return 0;
  return headers.reduce((sum, [name, value]) => sum + name.length + value.length, body.length);
}

/** The digest of the client of a key. */
function clientOf(key: string): string {
  return key.slice(0, key.indexOf(':'));
}
