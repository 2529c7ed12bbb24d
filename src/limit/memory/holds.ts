import { MAX_HOLDS } from '../policies/concurrency.js';
import type { HoldPolicy } from '../policy.js';
import type { Hold } from '../store.js';
import { placeOf, SEGMENT, Segments } from './segments.js';

/** Units that one admission holds in one counter, until it ends or its lease passes. */
export class MemoryHold implements Hold {
  constructor(
    readonly slot: number,
    readonly token: number,
    readonly units: number,
    readonly lease: number,
    /** When it was granted or renewed, by the clock of windows. */
    public since: number,
  ) {}

  get expiresAt(): number {
    return this.since + this.lease;
  }

  isExpired(now: number): boolean {
    // What began later than now was granted while the clock was wrong, and begins now.
    if (this.since > now) this.since = now;
    return this.expiresAt <= now;
  }
}

/** The live holds of one counter. */
class CounterHolds {
  /** By the slot of each hold. */
  readonly #holds: (MemoryHold | undefined)[] = [];
  #units = 0;
  #count = 0;
  /** No slot below this is free. */
  #lowestFree = 0;
  /** No hold expires before this. It is the first expiry unless holds were ended or renewed. */
  #first = Number.POSITIVE_INFINITY;
  #isFirstKnown = true;
  /** When the last hold was granted or renewed. */
  #latest = 0;

  /** Units held now. */
  held(now: number): number {
    if (this.#first <= now || this.#latest > now) this.#refresh(now);
    return this.#units;
  }

  get count(): number {
    return this.#count;
  }

  get list(): readonly MemoryHold[] {
    return this.#holds.filter((hold) => hold !== undefined);
  }

  /** Adds a hold that a journal has. */
  restore(hold: MemoryHold): void {
    const former = this.#holds[hold.slot];
    if (former !== undefined) this.end(former);
    this.#holds[hold.slot] = hold;
    this.#units += hold.units;
    this.#count++;
    this.#lowestFree = 0;
    this.#note(hold);
  }

  /** When the first hold expires, unless it is renewed. */
  firstExpiry(now: number): number {
    if (!this.#isFirstKnown) this.#refresh(now);
    return this.#first;
  }

  grant(token: number, units: number, lease: number, now: number): MemoryHold {
    let slot = this.#lowestFree;
    while (this.#holds[slot] !== undefined) slot++;
    this.#lowestFree = slot + 1;
    const hold = new MemoryHold(slot, token, units, lease, now);
    this.#holds[slot] = hold;
    this.#units += units;
    this.#count++;
    this.#note(hold);
    return hold;
  }

  /** Whether a hold is still held. */
  has(hold: MemoryHold, now: number): boolean {
    // What has expired stays so, also if the clock steps back.
    if (this.#first <= now || this.#latest > now) this.#refresh(now);
    return this.#holds[hold.slot] === hold && !hold.isExpired(now);
  }

  /** Extends a live hold to one lease from now. */
  renew(hold: MemoryHold, now: number): void {
    if (hold.expiresAt === this.#first) this.#isFirstKnown = false;
    hold.since = now;
    this.#note(hold);
  }

  end(hold: MemoryHold): void {
    if (hold.expiresAt === this.#first) this.#isFirstKnown = false;
    this.#holds[hold.slot] = undefined;
    this.#units -= hold.units;
    this.#count--;
    this.#lowestFree = Math.min(this.#lowestFree, hold.slot);
  }

  #note({ since, expiresAt }: MemoryHold): void {
    this.#first = Math.min(this.#first, expiresAt);
    this.#latest = Math.max(this.#latest, since);
  }

  /** Ends what has expired, and finds the first expiry of the rest. */
  #refresh(now: number): void {
    this.#first = Number.POSITIVE_INFINITY;
    this.#latest = 0;
    for (const hold of this.#holds) {
      if (hold === undefined) continue;
      if (hold.isExpired(now)) this.end(hold);
      else this.#note(hold);
    }
    this.#isFirstKnown = true;
  }
}

/** The holds of the counters of one policy, by slot. */
export class Holds {
  /** Only of counters with live holds, or with holds that have expired unnoticed. */
  readonly #bySlot = new Map<number, CounterHolds>();
  /** The last token of each counter. Zero before the first. */
  readonly #tokens = new Segments(() => new Float64Array(SEGMENT));
  /** The highest token of all counters that were forgotten. */
  forgotten = 0;

  /** Units held now. */
  held(slot: number, now: number): number {
    return this.#live(slot, now)?.held(now) ?? 0;
  }

  /** Whether one more hold would be too many. */
  isFull(slot: number): boolean {
    return (this.#bySlot.get(slot)?.count ?? 0) >= MAX_HOLDS;
  }

  /** When the first hold of a counter expires; undefined if nothing is held. */
  firstExpiry(slot: number, now: number): number | undefined {
    return this.#live(slot, now)?.firstExpiry(now);
  }

  grant(policy: HoldPolicy, slot: number, units: number, now: number, wall: number): MemoryHold {
    const holds = this.#of(slot);
    const tokens = this.#tokens.of(slot);
    // It rises also above those that this key may have had before its counter was forgotten.
    const last = (tokens[placeOf(slot)] as number) || this.forgotten;
    const token = Math.max(last + 1, Math.floor(wall));
    tokens[placeOf(slot)] = token;
    return holds.grant(token, units, policy.lease, now);
  }

  /** Ends a hold. Returns false if it had ended or expired before. */
  end(slot: number, hold: MemoryHold, now: number): boolean {
    const holds = this.#bySlot.get(slot);
    if (holds === undefined || !holds.has(hold, now)) return false;
    holds.end(hold);
    if (holds.count === 0) this.#bySlot.delete(slot);
    return true;
  }

  /** Extends a hold to one lease from now. Returns false if it had ended or expired before. */
  renew(slot: number, hold: MemoryHold, now: number): boolean {
    const holds = this.#bySlot.get(slot);
    if (holds === undefined || !holds.has(hold, now)) return false;
    holds.renew(hold, now);
    return true;
  }

  /** The last token of a counter. */
  lastToken(slot: number): number {
    return this.#tokens.get(slot)?.[placeOf(slot)] ?? 0;
  }

  /** The holds of a counter, those that have expired unnoticed among them. */
  list(slot: number): readonly MemoryHold[] {
    return this.#bySlot.get(slot)?.list ?? [];
  }

  /** Adds a hold that a journal has. */
  restore(slot: number, hold: MemoryHold): void {
    this.#of(slot).restore(hold);
    this.restoreToken(slot, hold.token);
  }

  /** The next token of a counter will be higher than this one. */
  restoreToken(slot: number, token: number): void {
    const tokens = this.#tokens.of(slot);
    tokens[placeOf(slot)] = Math.max(tokens[placeOf(slot)] as number, token);
  }

  /** The first token of each key that has none will be higher than this one. */
  restoreForgotten(token: number): void {
    this.forgotten = Math.max(this.forgotten, token);
  }

  /** Ends a hold that a journal has ended, whether it has expired or not. */
  remove(slot: number, hold: MemoryHold): void {
    const holds = this.#bySlot.get(slot);
    holds?.end(hold);
    if (holds?.count === 0) this.#bySlot.delete(slot);
  }

  /** Only for a counter without live holds. */
  clear(slot: number): void {
    this.#bySlot.delete(slot);
    const tokens = this.#tokens.get(slot);
    if (tokens === undefined) return;
    this.restoreForgotten(tokens[placeOf(slot)] as number);
    tokens[placeOf(slot)] = 0;
  }

  #of(slot: number): CounterHolds {
    const existing = this.#bySlot.get(slot);
    if (existing !== undefined) return existing;
    const holds = new CounterHolds();
    this.#bySlot.set(slot, holds);
    return holds;
  }

  #live(slot: number, now: number): CounterHolds | undefined {
    const holds = this.#bySlot.get(slot);
    if (holds === undefined || holds.held(now) > 0) return holds;
    this.#bySlot.delete(slot);
    return undefined;
  }
}
