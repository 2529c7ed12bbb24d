import type { QuotaState } from '../../../core/quota-state.js';
import type { LogPolicy } from '../../policy.js';
import type { RedisDecision, SlotCharges } from '../receipt.js';

/** Units of a counter that this process has charged in Redis, and may admit until a moment. */
export interface Portion {
  /** One: what the units are charged as. All receipts of the portion share it. */
  readonly charges: [SlotCharges];
  /** By the clock of `HotCounters`: later, they must not be admitted any more. */
  readonly usableUntil: number;
  /** Units of the limit that were left beside this portion when it was charged. */
  readonly others: number;
  /** When more units become free, in epoch milliseconds. */
  readonly resetAt: number;
  /** Units not admitted yet. */
  left: number;
}

/**
 * A portion of units that Redis has charged. The call was made after `calledAt`, and the units can be used for `age`
 * milliseconds at most.
 */
export function portionOf(
  { at, states, charges }: Extract<RedisDecision, { kind: 'admitted' }>,
  units: number,
  calledAt: number,
  age: number,
): Portion {
  const [state] = states;
  const [slot] = charges;
  const [charged] = slot?.charged ?? [];
  if (state === undefined || slot === undefined || charged === undefined) throw new Error('no charge');
  return {
    charges: [slot],
    // The server's milliseconds are rounded down.
    usableUntil: calledAt + Math.min(charged.time - at, age) - 1,
    others: state.remaining,
    resetAt: state.resetAt,
    left: units,
  };
}

/** The shortest time for which units are taken ahead, in milliseconds. */
const MIN_AGE = 16;
/** No part of a window shorter than this is worth its precision. */
const PARTS_OF_WINDOW = 32;
/** Fewer units are not worth a call. */
export const MIN_UNITS = 16;
/** More units are taken than were used in the same time before. */
const MARGIN = 1.25;
/** At most this part of what is free in Redis is taken. Otherwise a few processes would hold the rest of a limit while others refuse. */
const PART_OF_FREE = 1 / 16;

/** How a policy's units are taken ahead. */
export interface AheadPlan {
  /** The policy as Redis charges it, for units that are admitted later. */
  readonly policy: LogPolicy;
  /** The most units that this process has at once. */
  readonly most: number;
  /** For how many milliseconds at most. */
  readonly age: number;
}

/**
 * How units of a policy can be taken ahead; undefined if they cannot. A unit that is charged at one moment and admitted
 * later must count until a whole window after the later one. So it is charged at the end of a tick, and only admitted up
 * to then: a window's ticks are made longer for that.
 */
export function aheadPlan(policy: LogPolicy, share: number, maxAge: number): AheadPlan | undefined {
  const most = Math.floor(policy.limit * share);
  if (most < MIN_UNITS) return undefined;
  if (policy.kind === 'daily-quota') return { policy, most, age: maxAge };
  const age = Math.min(maxAge, Math.floor(policy.window / PARTS_OF_WINDOW));
  const granule = Math.max(1, Math.floor(age / policy.granule)) * policy.granule;
  if (Math.min(age, granule) < MIN_AGE) return undefined;
  return { policy: { ...policy, granule }, most, age: Math.min(maxAge, granule) };
}

/** A busy counter: what this process has taken of it ahead, and how much it uses. */
export class HotCounter {
  readonly plan: AheadPlan;
  readonly name: string;
  readonly limit: number;
  /** The key in Redis. */
  readonly redisKey: string;
  /** Resolves when the units that are being taken are here. */
  taking: Promise<unknown> | undefined;
  /** By the clock of `HotCounters`. Until then, none are taken. */
  notBefore = 0;
  /** Units not admitted yet, in all portions. */
  left = 0;
  /** If fewer are left, more are taken. */
  refillBelow = 0;
  readonly #giveBack: (charges: SlotCharges, units: number) => void;
  #portions: Portion[] = [];
  #isForgotten = false;
  /** Units used since a moment, to know how many will be. */
  #used = 0;
  #since: number;
  /** What was free in Redis after the last portion was taken. */
  #free = Number.POSITIVE_INFINITY;

  constructor(plan: AheadPlan, redisKey: string, now: number, giveBack: (charges: SlotCharges, units: number) => void) {
    this.plan = plan;
    this.name = plan.policy.name;
    this.limit = plan.policy.limit;
    this.redisKey = redisKey;
    this.#since = now;
    this.#giveBack = giveBack;
  }

  /** The portion that has this many units at this moment. */
  portionFor(units: number, now: number): Portion | undefined {
    for (;;) {
      const oldest = this.#portions[0];
      if (oldest === undefined) return undefined;
      if (now <= oldest.usableUntil) break;
      this.#drop(oldest);
    }
    return this.#portions.find(({ left, usableUntil }) => left >= units && now <= usableUntil);
  }

  /** Admits units of a portion that has as many. */
  use(portion: Portion, units: number): void {
    portion.left -= units;
    this.left -= units;
    this.#used += units;
  }

  /** Units of a portion were not used after all. */
  undo(portion: Portion, units: number, now: number): void {
    this.#used -= units;
    if (this.#portions.includes(portion) && now <= portion.usableUntil) {
      portion.left += units;
      this.left += units;
    } else this.#giveBack(portion.charges[0], units);
  }

  /** Notes units that were admitted by Redis. */
  note(units: number): void {
    this.#used += units;
  }

  add(portion: Portion): void {
    this.#portions.push(portion);
    this.left += portion.left;
    this.refillBelow = this.left / 2;
    this.#free = portion.others;
  }

  /** How many units to take for the next `ms` milliseconds, besides those that are left. */
  wanted(now: number, ms: number): number {
    const { age, most } = this.plan;
    const elapsed = Math.max(1, now - this.#since);
    const rate = this.#used / elapsed;
    if (elapsed > age) {
      this.#used = (rate * age) / 2;
      this.#since = now - age / 2;
    }
    const wanted = Math.min(Math.ceil(rate * ms * MARGIN), most) - this.left;
    return Math.min(wanted, Math.max(MIN_UNITS, Math.floor(this.#free * PART_OF_FREE)));
  }

  /** Forgets the portions that cannot be used any more. Returns until when the others can, or undefined. */
  expire(now: number): number | undefined {
    for (const portion of [...this.#portions]) if (now > portion.usableUntil) this.#drop(portion);
    return this.#portions.reduce<number | undefined>(
      (first, { usableUntil }) => Math.min(first ?? usableUntil, usableUntil),
      undefined,
    );
  }

  /** Whether what is on its way is given back when it comes. */
  get isForgotten(): boolean {
    return this.#isForgotten;
  }

  /** Gives all back or, after a reset of the counter, forgets it. */
  forget(isReset: boolean): void {
    this.#isForgotten = true;
    for (const portion of [...this.#portions]) {
      if (isReset) this.use(portion, portion.left);
      this.#drop(portion);
    }
  }

  /** The state after units of a portion were admitted. */
  stateOf({ others, resetAt }: Portion, now: number): QuotaState {
    const { name, limit } = this;
    return { name, limit, remaining: others + this.left, resetAt: resetAt < now ? now : resetAt };
  }

  #drop(portion: Portion): void {
    this.#portions = this.#portions.filter((other) => other !== portion);
    this.left -= portion.left;
    if (portion.left > 0) this.#giveBack(portion.charges[0], portion.left);
  }
}
