import type { QuotaState } from '../../core/quota-state.js';
import { holds, type QuotaPolicy } from '../policy.js';
import { logOf } from './policy-log.js';
import { StoredHolds } from './stored-holds.js';
import type { StoredLog } from './stored-log.js';
import { NumberReader, type NumberWriter } from './varints.js';

/** The form of a value. Another one is not read. */
const FORM = 1;
const HAS_LOG = 1;
const HAS_RETURNED = 2;
const HAS_HOLDS = 4;
/** Something is held, or was when the value was written. */
const IS_HELD = 8;

/** What every value begins with, whatever its policy is. */
export interface ValueHead {
  readonly flags: number;
  readonly generation: number;
  /** The part of the limit that was in use when the value was written, given back included; 1 if something is held. */
  readonly fraction: number;
  /** The token of the last hold; 0 for a policy without leases. */
  readonly lastToken: number;
}

/** @throws RangeError for bytes that are not a value of this form */
function readHead(row: NumberReader): ValueHead {
  if (row.read() !== FORM) throw new RangeError('another form');
  const flags = row.read();
  const generation = row.read();
  const limit = row.read();
  const used = row.read();
  const lastToken = (flags & HAS_HOLDS) !== 0 ? row.read() : 0;
  return { flags, generation, fraction: (flags & IS_HELD) !== 0 ? 1 : used / limit, lastToken };
}

/** What a value says whatever its policy is. @throws RangeError for bytes that are not a value */
export function headOf(value: Uint8Array): ValueHead {
  return readHead(new NumberReader(value));
}

/** A new number for the charges of a counter, so that receipts of what was forgotten before change nothing. */
function newGeneration(): number {
  return Math.floor(Math.random() * 2 ** 32);
}

/** What a charge is known by. */
export interface Charged {
  readonly generation: number;
  /** Under which the log keeps the units, or the token of the hold. */
  readonly time: number;
  readonly slot: number;
}

/**
 * One counter while it is decided about: a log of what was charged, a tally of what was given back of it, and what is held.
 * A policy has a log or holds, or both. It decides as the memory store does.
 */
export class StoredCounter {
  /** Whether its row has to be written. */
  isChanged = false;
  readonly holds: StoredHolds | undefined;
  readonly #policy: QuotaPolicy;
  #generation: number;
  #log: StoredLog | undefined;
  #returned: StoredLog | undefined;

  /** @throws RangeError if the value is not one of this policy */
  constructor(policy: QuotaPolicy, value: Uint8Array | undefined) {
    this.#policy = policy;
    const row = value === undefined ? undefined : new NumberReader(value);
    const head = row === undefined ? undefined : readHead(row);
    this.#generation = head?.generation ?? newGeneration();
    this.#log = logOf(policy, row);
    this.#returned = head !== undefined && (head.flags & HAS_RETURNED) !== 0 ? logOf(policy, row) : undefined;
    this.holds = holds(policy) ? new StoredHolds(row, head?.lastToken ?? 0) : undefined;
    if (row === undefined || head === undefined) return;
    if ((head.flags & ~(HAS_RETURNED | IS_HELD)) !== this.#flags || !row.isAtEnd)
      throw new RangeError('another policy');
  }

  /** When nothing in the counter matters any more. */
  get liveUntil(): number {
    return Math.max(this.#log?.liveUntil ?? 0, this.#returned?.liveUntil ?? 0, this.holds?.liveUntil ?? 0);
  }

  /** Units in use now, and held. Call it first. */
  used(now: number): number {
    const used = (this.#log?.used(this.#policy, now) ?? 0) + (this.holds?.held(now) ?? 0);
    if (this.#log?.isRepaired || this.holds?.isRepaired) this.isChanged = true;
    return used;
  }

  /** Whether it has room for `units` more. Written so that a limit of NaN refuses. */
  fits(units: number, now: number): boolean {
    return this.used(now) + units <= this.#policy.limit && !this.holds?.isFull;
  }

  /** Charges or holds units, after `fits`. */
  charge(units: number, now: number): Charged {
    this.isChanged = true;
    const policy = this.#policy;
    if (this.holds !== undefined && holds(policy)) {
      const { slot, token } = this.holds.grant(policy, units, now);
      return { generation: this.#generation, time: token, slot };
    }
    return { generation: this.#generation, time: this.#log?.add(policy, units, now) ?? 0, slot: 0 };
  }

  /**
   * Corrects a charge to `settled` units. What is given back of the charges of one window never exceeds the limit: the rest
   * stays charged. A hold ends, and its units are logged as used now, unless it has ended or expired before.
   */
  settle({ generation, time }: Charged, units: number, settled: number, now: number): void {
    const log = this.#log;
    if (this.holds !== undefined) {
      if (!this.release(time, now) || log === undefined || settled === 0) return;
      log.used(this.#policy, now);
      log.add(this.#policy, settled, now);
      return;
    }
    if (log === undefined || generation !== this.#generation) return;
    const delta = settled - units;
    if (delta >= 0) {
      if (log.correct(time, delta, now) !== 0) this.isChanged = true;
      return;
    }
    const left = this.#policy.limit - (this.#returned?.used(this.#policy, now) ?? 0);
    if (this.#returned?.isRepaired) this.isChanged = true;
    const given = -log.correct(time, -Math.min(-delta, Math.max(0, left)), now);
    if (given === 0) return;
    this.isChanged = true;
    this.#returned ??= logOf(this.#policy, undefined);
    this.#returned?.addAt(time, given);
  }

  /** Ends a hold. Returns false if it had ended or expired before. */
  release(token: number, now: number): boolean {
    this.used(now);
    const wasHeld = this.holds?.end(token) ?? false;
    if (wasHeld) this.isChanged = true;
    return wasHeld;
  }

  /** Extends a hold to one lease from now. Returns false if it had ended or expired before. */
  renew(token: number, now: number): boolean {
    this.used(now);
    const isHeld = this.holds?.renew(token, now) ?? false;
    if (isHeld) this.isChanged = true;
    return isHeld;
  }

  /** Forgets what was charged. What is held stays. */
  clear(now: number): void {
    this.used(now);
    this.isChanged = true;
    this.#generation = newGeneration();
    this.#log = logOf(this.#policy, undefined);
    this.#returned = undefined;
  }

  /** After `used`. */
  state(now: number): QuotaState {
    const { name, limit } = this.#policy;
    return { name, limit, remaining: Math.max(0, limit - this.used(now)), resetAt: this.#resetAt(now) };
  }

  /** When more units become available. */
  #resetAt(now: number): number {
    if (this.#log === undefined) return this.holds?.firstExpiry ?? now;
    const held = this.holds?.held(now) ?? 0;
    return this.#log.resetAt(this.#policy, this.#policy.limit - held, now);
  }

  /**
   * The earliest time at which `units` more fit; null if they never do. A hold may end at any time, so holds that have to end
   * first count as ended.
   */
  retryAt(units: number, now: number): number | null {
    const { limit } = this.#policy;
    if (units > limit) return null;
    const log = this.#log;
    if (log === undefined) return now;
    const held = this.holds?.held(now) ?? 0;
    const room = held + units <= limit ? limit - held : limit;
    if (held > 0 && log.used(this.#policy, now) + units <= room) return now;
    return log.freeAt(room, units);
  }

  write(out: NumberWriter): void {
    const isHeld = this.holds !== undefined && !this.holds.isEmpty;
    const returned = this.#returned !== undefined && this.#returned.total > 0 ? this.#returned : undefined;
    out.restart();
    out.write(FORM);
    out.write(this.#flags | (returned === undefined ? 0 : HAS_RETURNED) | (isHeld ? IS_HELD : 0));
    out.write(this.#generation);
    out.write(this.#policy.limit);
    out.write((this.#log?.total ?? 0) + (returned?.total ?? 0));
    if (this.holds !== undefined) out.write(this.holds.lastToken);
    this.#log?.write(out);
    returned?.write(out);
    this.holds?.write(out);
  }

  get #flags(): number {
    return (this.#log === undefined ? 0 : HAS_LOG) | (this.holds === undefined ? 0 : HAS_HOLDS);
  }
}
