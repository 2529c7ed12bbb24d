import type { QuotaState } from '../../src/core/quota-state.js';
import type { Concurrency, GpuTime, HoldPolicy, LogPolicy, QuotaPolicy } from '../../src/limit/policy.js';
import { holds } from '../../src/limit/policy.js';
import type { Decision, Hold, LimitStore, Receipt, Violation } from '../../src/limit/store.js';
import { checkSettledUnits, checkUnits } from '../../src/limit/units.js';
import { ReferenceLog } from './reference-log.js';

/** The most holds on one counter. */
const MAX_HOLDS = 1000;

interface LiveHold extends Hold {
  readonly units: number;
  expiresAt: number;
}

interface UsedTime {
  /** When it leaves. */
  readonly until: number;
  readonly ms: number;
}

interface Counter {
  holds: LiveHold[];
  log: UsedTime[];
  lastToken: number;
}

interface Charge {
  readonly policy: HoldPolicy;
  readonly counter: Counter;
  readonly hold: LiveHold;
  isOver: boolean;
}

interface ReferenceReceipt {
  readonly log: Parameters<ReferenceLog['settle']>[0];
  /** Where the policies with a log only are among all. */
  readonly logPlaces: readonly number[];
  readonly charges: readonly (Charge | undefined)[];
}

/**
 * What a store with holds promises, as plainly as possible: lists, and nothing that is remembered. For clocks that never run
 * backwards, and windows and days of up to 512 units.
 */
export class ReferenceStore implements LimitStore {
  readonly #now: () => number;
  readonly #log = new ReferenceLog();
  readonly #counters = new Map<string, Counter>();

  constructor(now: () => number) {
    this.#now = now;
  }

  admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: readonly number[]): Decision {
    checkUnits(policies, units);
    const now = this.#now();
    const logPlaces = [...policies.keys()].filter((i) => !holds(policies[i] as QuotaPolicy));
    const ofLogs = <T>(list: readonly T[]) => logPlaces.map((i) => list[i] as T);
    const logPolicies = ofLogs(policies) as readonly LogPolicy[];
    const before = this.peek(policies, keys);
    const violations = policies.flatMap((policy, i): Violation[] => {
      const state = before[i] as QuotaState;
      const more = units[i] as number;
      if (holds(policy)) {
        const counter = this.#counter(policy, keys[i] as string);
        const fits = used(counter) + held(counter) + more <= policy.limit && counter.holds.length < MAX_HOLDS;
        return fits ? [] : [{ state, retryAt: retryAt(policy, counter, more, now) }];
      }
      if (state.remaining >= more) return [];
      return [{ state, retryAt: this.#log.retryAt(policy, keys[i] as string, more, now) }];
    });
    if (violations.length > 0) return { kind: 'refused', at: now, states: before, violations };
    const log = this.#log.admit(logPolicies, ofLogs(keys), ofLogs(units), now).receipt;
    const charges = policies.map((policy, i) =>
      holds(policy) ? grant(policy, this.#counter(policy, keys[i] as string), units[i] as number, now) : undefined,
    );
    const receipt: ReferenceReceipt = { log, logPlaces, charges };
    return {
      kind: 'admitted',
      at: now,
      states: this.peek(policies, keys),
      holds: charges.map((charge) => charge && { slot: charge.hold.slot, token: charge.hold.token }),
      receipt,
    };
  }

  settle(receipt: Receipt, units: readonly (number | undefined)[]): void {
    checkSettledUnits(units);
    const now = this.#now();
    const { log, logPlaces, charges } = receipt as ReferenceReceipt;
    this.#log.settle(
      log,
      logPlaces.map((i) => units[i]),
      now,
    );
    charges.forEach((charge, i) => {
      const ms = units[i];
      if (charge === undefined || ms === undefined || !end(charge, now)) return;
      const { policy, counter } = charge;
      if (policy.kind === 'gpu-time' && ms > 0) counter.log.push({ until: leavesAt(policy, now), ms });
    });
  }

  renew(receipt: Receipt): boolean {
    const now = this.#now();
    let allHeld = true;
    for (const charge of (receipt as ReferenceReceipt).charges) {
      if (charge === undefined || charge.isOver) continue;
      if (charge.hold.expiresAt > now) charge.hold.expiresAt = now + charge.policy.lease;
      else allHeld = false;
    }
    return allHeld;
  }

  release(receipt: Receipt): void {
    for (const charge of (receipt as ReferenceReceipt).charges) if (charge !== undefined) end(charge, this.#now());
  }

  peek(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly QuotaState[] {
    const now = this.#now();
    return policies.map((policy, i) => {
      const key = keys[i] as string;
      if (!holds(policy)) return this.#log.peek([policy], [key], now)[0] as QuotaState;
      const counter = this.#counter(policy, key);
      const { name, limit } = policy;
      const remaining = Math.max(0, limit - used(counter) - held(counter));
      return { name, limit, remaining, resetAt: resetAt(policy, counter, now) };
    });
  }

  reset(policies: readonly QuotaPolicy[], keys: readonly string[]): void {
    policies.forEach((policy, i) => {
      const key = keys[i] as string;
      if (holds(policy)) this.#counter(policy, key).log = [];
      else this.#log.reset([policy], [key]);
    });
  }

  /** Without what has left and what has expired. */
  #counter(policy: HoldPolicy, key: string): Counter {
    const name = `${policy.id} ${key}`;
    let counter = this.#counters.get(name);
    if (counter === undefined) {
      counter = { holds: [], log: [], lastToken: 0 };
      this.#counters.set(name, counter);
    }
    const now = this.#now();
    counter.holds = counter.holds.filter(({ expiresAt }) => expiresAt > now);
    counter.log = counter.log.filter(({ until }) => until > now);
    return counter;
  }
}

const held = ({ holds }: Counter): number => holds.reduce((sum, { units }) => sum + units, 0);
const used = ({ log }: Counter): number => log.reduce((sum, { ms }) => sum + ms, 0);

function grant(policy: HoldPolicy, counter: Counter, units: number, now: number): Charge {
  let slot = 0;
  while (counter.holds.some((hold) => hold.slot === slot)) slot++;
  counter.lastToken = Math.max(counter.lastToken + 1, now);
  const hold = { slot, token: counter.lastToken, units, expiresAt: now + policy.lease };
  counter.holds.push(hold);
  return { policy, counter, hold, isOver: false };
}

/** Ends a hold. Returns whether it was still there. */
function end(charge: Charge, now: number): boolean {
  if (charge.isOver) return false;
  charge.isOver = true;
  charge.counter.holds = charge.counter.holds.filter((hold) => hold !== charge.hold);
  return charge.hold.expiresAt > now;
}

function leavesAt(policy: GpuTime, now: number): number {
  if (policy.dayOf !== undefined) return policy.dayOf(now).end;
  return Math.ceil(now / policy.granule) * policy.granule + policy.window;
}

/** The first time from which on at most `most` milliseconds are left in the log. */
function leftBy({ log }: Counter, most: number, now: number): number {
  const times = [now, ...log.map(({ until }) => until)].sort((a, b) => a - b);
  const left = (time: number) => log.reduce((sum, { until, ms }) => (until > time ? sum + ms : sum), 0);
  return times.find((time) => left(time) <= most) ?? Number.NaN;
}

function resetAt(policy: Concurrency | GpuTime, counter: Counter, now: number): number {
  if (policy.kind === 'gpu-time' && policy.dayOf !== undefined) return policy.dayOf(now).end;
  const all = used(counter);
  // When more is left than now, by the log.
  if (all > 0) return leftBy(counter, Math.max(0, Math.min(all - 1, policy.limit - held(counter) - 1)), now);
  // Time that is held has no end of its own: the lease is renewed as long as the job runs.
  if (policy.kind === 'gpu-time' || counter.holds.length === 0) return now;
  return Math.min(...counter.holds.map(({ expiresAt }) => expiresAt));
}

function retryAt(policy: Concurrency | GpuTime, counter: Counter, units: number, now: number): number | null {
  if (units > policy.limit) return null;
  const withHolds = policy.limit - units - held(counter);
  return leftBy(counter, withHolds >= 0 ? withHolds : policy.limit - units, now);
}
