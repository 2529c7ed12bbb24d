import { holds, type LogPolicy, type QuotaPolicy } from '../../policy.js';
import type { Receipt } from '../../store.js';
import type { SlotCharges } from '../receipt.js';
import type { RedisCounters } from '../redis-counters.js';
import type { ServerClock } from '../server-clock.js';
import { UseWatch } from '../use-watch.js';
import { aheadPlan, HotCounter, MIN_UNITS, portionOf } from './hot-counter.js';
import { HotDecisions, steadyTime } from './hot-decisions.js';
import { HotTable } from './hot-table.js';

/** Counters of which units are taken ahead. */
const MAX_HOT = 1000;
/** How long no units are taken after a refusal, in milliseconds. */
const PAUSE = 50;

/** What a process may take ahead. */
export interface AheadSettings {
  /** The part of each limit. */
  readonly share: number;
  /** In milliseconds. */
  readonly maxAge: number;
}

/**
 * Takes units of busy counters ahead, so that requests are decided from them in memory. Units are taken in one call,
 * charged like any others, and given back if they are not used in time. They are charged at a moment at or after that at
 * which they are admitted, so no more than the limit is admitted in any window.
 */
export class HotCounters {
  readonly #settings: AheadSettings;
  readonly #counters: RedisCounters;
  readonly #clock: ServerClock;
  /** Whether the server of a key does not answer. */
  readonly #isAway: (redisKey: string) => boolean;
  readonly #giveBack: (charges: SlotCharges, units: number) => void;
  readonly #hot = new HotTable();
  readonly #watch: UseWatch;
  /** What is decided from the units that are here. */
  readonly decisions: HotDecisions;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(
    settings: AheadSettings,
    counters: RedisCounters,
    clock: ServerClock,
    isAway: (redisKey: string) => boolean,
    giveBack: (charges: SlotCharges, units: number) => void,
    undo: (receipt: Receipt, count: number) => Promise<void>,
  ) {
    this.#settings = settings;
    this.#counters = counters;
    this.#clock = clock;
    this.#isAway = isAway;
    this.#giveBack = giveBack;
    this.#watch = new UseWatch(MIN_UNITS, settings.maxAge);
    this.decisions = new HotDecisions(this.#hot, clock, (counter, now) => this.#take(counter, now), undo);
  }

  /** Notes an admission that Redis has charged. Of counters that are charged often, units are taken ahead. */
  charged(
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
    redisKeys: readonly string[],
    units: readonly number[],
  ): void {
    if (this.#isStopped) return;
    const now = steadyTime(this.#clock);
    policies.forEach((policy, i) => {
      const key = keys[i] as string;
      const used = units[i] as number;
      if (holds(policy)) return;
      const counter = this.#hot.find(policy, key) ?? this.#heat(policy, key, redisKeys[i] as string, used, now);
      if (counter === undefined) return;
      counter.note(used);
      // Redis was asked because not enough are here.
      this.#take(counter, now);
    });
  }

  /** Forgets the units of counters that were reset. */
  forget(policies: readonly QuotaPolicy[], keys: readonly string[]): void {
    policies.forEach(({ id }, i) => {
      this.#hot.remove(id, keys[i] as string, true);
    });
  }

  /** Gives all units back. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#hot.forEach((_counter, id, key) => {
      this.#hot.remove(id, key, false);
    });
  }

  /** Makes a counter hot that was charged often lately. */
  #heat(policy: LogPolicy, key: string, redisKey: string, units: number, now: number): HotCounter | undefined {
    const since = this.#watch.busySince(policy, key, units, now);
    if (since === undefined || this.#hot.size >= MAX_HOT) return undefined;
    const plan = aheadPlan(policy, this.#settings.share, this.#settings.maxAge);
    if (plan === undefined) return undefined;
    this.#hot.remove(policy.id, key, false);
    const counter = new HotCounter(plan, redisKey, since, this.#giveBack);
    this.#hot.add(policy.id, key, counter);
    return counter;
  }

  /** Takes units for the rest of the tick, in the background. Never rejects. */
  #take(counter: HotCounter, now: number): Promise<unknown> | undefined {
    if (counter.taking !== undefined) return counter.taking;
    if (now < counter.notBefore || this.#isAway(counter.redisKey)) return undefined;
    const wanted = counter.wanted(now, this.#restOfTick(counter));
    if (wanted < MIN_UNITS) {
      // What is left is enough for this tick.
      counter.refillBelow = 0;
      return undefined;
    }
    counter.taking = this.#charge(counter, wanted, now).finally(() => {
      counter.taking = undefined;
      this.#schedule();
    });
    return counter.taking;
  }

  /** Returns the error if Redis does not answer. */
  async #charge(counter: HotCounter, units: number, now: number): Promise<unknown> {
    const { policy, age } = counter.plan;
    try {
      const decision = await this.#counters.admit([policy], [counter.redisKey], [units], (answer, error) => {
        if (answer === undefined) throw error;
        return answer;
      });
      if (decision.kind === 'refused') {
        const rest = Math.floor((decision.states[0]?.remaining ?? 0) / 4);
        if (rest >= MIN_UNITS && rest < units) return await this.#charge(counter, rest, steadyTime(this.#clock));
        counter.notBefore = steadyTime(this.#clock) + PAUSE;
        return undefined;
      }
      const portion = portionOf(decision, units, now, age);
      if (!counter.isForgotten) counter.add(portion);
      else this.#giveBack(portion.charges[0], units);
      return undefined;
    } catch (error) {
      counter.notBefore = steadyTime(this.#clock) + age;
      return error;
    }
  }

  /** For how long units that are taken now can be used, in milliseconds. */
  #restOfTick({ plan: { policy, age } }: HotCounter): number {
    if (policy.kind === 'daily-quota') return age;
    return Math.min(age, policy.granule - (this.#clock.now() % policy.granule));
  }

  /** Gives back in time what is not used. */
  #schedule(): void {
    if (this.#timer !== undefined || this.#isStopped || this.#hot.size === 0) return;
    const { maxAge } = this.#settings;
    const now = steadyTime(this.#clock);
    let first = now + maxAge;
    this.#hot.forEach((counter, id, key) => {
      const until = counter.expire(now);
      if (until !== undefined) first = Math.min(first, until);
      else if (counter.taking === undefined && counter.wanted(now, counter.plan.age) < MIN_UNITS) {
        this.#hot.remove(id, key, false);
      }
    });
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#schedule();
      },
      Math.max(1, first - now + 1),
    ).unref();
  }
}
