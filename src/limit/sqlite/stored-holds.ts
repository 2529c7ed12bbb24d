import { MAX_HOLDS } from '../policies/concurrency.js';
import type { HoldPolicy } from '../policy.js';
import type { Hold } from '../store.js';
import type { NumberReader, NumberWriter } from './varints.js';

interface StoredHold extends Hold {
  readonly units: number;
  readonly lease: number;
  /** In epoch milliseconds. */
  expiresAt: number;
}

/** What is held of one counter while it is decided about. Call `held` before anything else. */
export class StoredHolds {
  /** Whether `held` has found a hold that has ended or was granted while the clock was wrong, so that the row has to be written. */
  isRepaired = false;
  /** The token of the last hold, or a higher one that another counter had before it was forgotten. */
  #last: number;
  #holds: StoredHold[] = [];

  constructor(row: NumberReader | undefined, lastToken: number) {
    this.#last = lastToken;
    if (row === undefined) return;
    for (let count = row.read(); count > 0; count--) {
      this.#holds.push({
        token: this.#last - row.read(),
        slot: row.read(),
        units: row.read(),
        expiresAt: row.read(),
        lease: row.read(),
      });
    }
  }

  /** Forgets the holds that have expired. Returns the units that are held. */
  held(now: number): number {
    let units = 0;
    for (const hold of this.#holds) {
      // A hold of more than one lease from now was granted while the clock was wrong, and begins now.
      if (hold.expiresAt > now + hold.lease) {
        hold.expiresAt = now + hold.lease;
        this.isRepaired = true;
      }
      if (hold.expiresAt > now) units += hold.units;
      // What has expired stays so, also if the clock steps back.
      else this.isRepaired = true;
    }
    if (this.isRepaired) this.#holds = this.#holds.filter(({ expiresAt }) => expiresAt > now);
    return units;
  }

  /** Whether one more hold would be too many. */
  get isFull(): boolean {
    return this.#holds.length >= MAX_HOLDS;
  }

  get isEmpty(): boolean {
    return this.#holds.length === 0;
  }

  /** When the first hold expires, unless it is renewed. */
  get firstExpiry(): number | undefined {
    return this.isEmpty ? undefined : Math.min(...this.#holds.map(({ expiresAt }) => expiresAt));
  }

  /** When neither a hold nor the last token matters any more: the next token is then at least the time. */
  get liveUntil(): number {
    return Math.max(this.#last + 1, ...this.#holds.map(({ expiresAt }) => expiresAt));
  }

  /** The highest token so far, for a row that is forgotten. */
  get lastToken(): number {
    return this.#last;
  }

  /** Tokens of a new counter rise above those that its key may have had before. */
  startAbove(token: number): void {
    this.#last = Math.max(this.#last, token);
  }

  /** Holds units for one lease. */
  grant(policy: HoldPolicy, units: number, now: number): Hold {
    const taken = new Set(this.#holds.map(({ slot }) => slot));
    let slot = 0;
    while (taken.has(slot)) slot++;
    const token = Math.max(this.#last + 1, now);
    this.#last = token;
    const { lease } = policy;
    this.#holds.push({ slot, token, units, lease, expiresAt: now + lease });
    return { slot, token };
  }

  /** Ends a hold. Returns false if it had ended or expired before. */
  end(token: number): boolean {
    const place = this.#holds.findIndex((hold) => hold.token === token);
    if (place !== -1) this.#holds.splice(place, 1);
    return place !== -1;
  }

  /** Extends a hold to one lease from now. Returns false if it had ended or expired before. */
  renew(token: number, now: number): boolean {
    const hold = this.#holds.find((other) => other.token === token);
    if (hold !== undefined) hold.expiresAt = now + hold.lease;
    return hold !== undefined;
  }

  write(out: NumberWriter): void {
    out.write(this.#holds.length);
    for (const { token, slot, units, expiresAt, lease } of this.#holds) {
      out.write(this.#last - token);
      out.write(slot);
      out.write(units);
      out.write(expiresAt);
      out.write(lease);
    }
  }
}
