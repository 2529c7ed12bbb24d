import type { QuotaState } from '../../src/core/quota-state.js';
import type { LogPolicy } from '../../src/limit/policy.js';

/** One admission in one counter. */
export interface Charge {
  /** When it was admitted. For a daily quota of a reference log: the end of the day that was charged. */
  readonly at: number;
  units: number;
}

/** The most units in any interval of the window's length. Only intervals that start at a charge need to be checked. */
export function fullestInterval(charges: readonly Charge[], window: number): number {
  let most = 0;
  for (let i = 0; i < charges.length; i++) {
    const end = at(charges, i).at + window;
    let units = 0;
    for (let j = i; j < charges.length && at(charges, j).at < end; j++) units += at(charges, j).units;
    most = Math.max(most, units);
  }
  return most;
}

export function unitsAfter(charges: readonly Charge[], time: number): number {
  return charges.reduce((sum, charge) => (charge.at > time ? sum + charge.units : sum), 0);
}

/** Units for a list of policies: each policy has units of its own. */
export function ownUnits(policies: readonly unknown[], units: number): readonly number[] {
  return policies.map((_, i) => units + i);
}

/** What an admission is settled to: all policies, or by `which` only some. */
export function settledUnits(units: number, which: number): readonly (number | undefined)[] {
  return [0, 1, 2, 3].map((i) => (which % 3 === 0 || which % 3 === (i % 2) + 1 ? units + i * (units % 2) : undefined));
}

/** An item of a list by any number from zero, modulo its length. */
export function at<T>(list: readonly T[], i: number): T {
  const item = list[i % list.length];
  if (item === undefined) throw new Error('an empty list');
  return item;
}

interface Counter {
  /** Units that are charged, by time. */
  readonly charged: Charge[];
  /** Units that were given back, by the time of their charges. */
  readonly returned: Charge[];
}

interface ChargedPolicy {
  readonly counter: Counter;
  readonly at: number;
  readonly policy: LogPolicy;
  readonly units: number;
  settled: boolean;
}

interface Receipt {
  readonly charged: readonly ChargedPolicy[];
}

export interface ReferenceDecision {
  readonly kind: 'admitted' | 'refused';
  readonly at: number;
  readonly states: readonly QuotaState[];
  readonly violations: readonly { readonly state: QuotaState; readonly retryAt: number | null }[];
  readonly receipt: Receipt;
}

const sum = (charges: readonly Charge[]) => charges.reduce((total, { units }) => total + units, 0);

/**
 * What a limit store promises, as plainly as possible: every admission is an entry in a list, and every answer reads the
 * whole list. For limits of up to 512 units.
 */
export class ReferenceLog {
  readonly #counters = new Map<string, Counter>();
  /** Every time at which a charge has left or will leave. */
  readonly departures: number[] = [];

  admit(
    policies: readonly LogPolicy[],
    keys: readonly string[],
    units: readonly number[],
    now: number,
  ): ReferenceDecision {
    const counters = policies.map((policy, i) => this.#current(policy, keys[i] ?? '', now));
    const violations = policies.flatMap((policy, i) => {
      const { charged } = at(counters, i);
      const more = at(units, i);
      if (sum(charged) + more <= policy.limit) return [];
      return [{ state: this.#state(policy, charged, now), retryAt: this.#retryAt(policy, charged, more) }];
    });
    const charged: ChargedPolicy[] = [];
    if (violations.length === 0) {
      policies.forEach((policy, i) => {
        const counter = at(counters, i);
        const time = add(counter.charged, policy.kind === 'sliding-window' ? now : policy.dayOf(now).end, at(units, i));
        charged.push({ counter, at: time, policy, units: at(units, i), settled: false });
        this.departures.push(time + lifetime(policy));
      });
    }
    return {
      kind: violations.length === 0 ? 'admitted' : 'refused',
      at: now,
      states: policies.map((policy, i) => this.#state(policy, at(counters, i).charged, now)),
      violations,
      receipt: { charged },
    };
  }

  settle(receipt: Receipt, units: readonly (number | undefined)[], now: number): void {
    for (const [i, charged] of receipt.charged.entries()) {
      const settled = units[i];
      if (settled === undefined || charged.settled) continue;
      charged.settled = true;
      const { counter, at, policy } = charged;
      if (at + lifetime(policy) <= now) continue;
      const back = charged.units - settled;
      if (back > 0) refresh(counter.returned, policy, now, this.departures);
      const charge = counter.charged.find((charge) => charge.at === at);
      if (charge === undefined) continue;
      if (back <= 0) charge.units -= back;
      else {
        const given = Math.max(0, Math.min(back, charge.units, policy.limit - sum(counter.returned)));
        charge.units -= given;
        if (given > 0) add(counter.returned, at, given);
      }
    }
  }

  peek(policies: readonly LogPolicy[], keys: readonly string[], now: number): readonly QuotaState[] {
    return policies.map((policy, i) => this.#state(policy, this.#current(policy, keys[i] ?? '', now).charged, now));
  }

  reset(policies: readonly LogPolicy[], keys: readonly string[]): void {
    policies.forEach((policy, i) => {
      this.#counters.delete(`${policy.id} ${keys[i]}`);
    });
  }

  /** When these units could be admitted; null if never. */
  retryAt(policy: LogPolicy, key: string, units: number, now: number): number | null {
    return this.#retryAt(policy, this.#current(policy, key, now).charged, units);
  }

  /** Units in use and units given back. */
  held(policy: LogPolicy, key: string, now: number): number {
    const counter = this.#current(policy, key, now);
    refresh(counter.returned, policy, now, this.departures);
    return sum(counter.charged) + sum(counter.returned);
  }

  #current(policy: LogPolicy, key: string, now: number): Counter {
    const name = `${policy.id} ${key}`;
    const counter = this.#counters.get(name) ?? { charged: [], returned: [] };
    this.#counters.set(name, counter);
    refresh(counter.charged, policy, now, this.departures);
    return counter;
  }

  #state(policy: LogPolicy, counter: readonly Charge[], now: number): QuotaState {
    const { name, limit } = policy;
    const remaining = Math.max(0, limit - sum(counter));
    return { name, limit, remaining, resetAt: this.#resetAt(policy, counter, remaining, now) };
  }

  /** When more remains than now. */
  #resetAt(policy: LogPolicy, counter: readonly Charge[], remaining: number, now: number): number {
    if (policy.kind === 'daily-quota') return counter[0]?.at ?? policy.dayOf(now).end;
    if (sum(counter) === 0) return now;
    return firstDeparture(policy, counter, (left) => policy.limit - left > remaining) ?? Number.NaN;
  }

  #retryAt(policy: LogPolicy, counter: readonly Charge[], units: number): number | null {
    return firstDeparture(policy, counter, (left) => left + units <= policy.limit) ?? null;
  }
}

/** Adds units at a time, or with the newest entry if that is later. Returns the time. */
function add(charges: Charge[], time: number, units: number): number {
  const newest = charges.at(-1);
  if (newest !== undefined && newest.at >= time) {
    newest.units += units;
    return newest.at;
  }
  charges.push({ at: time, units });
  return time;
}

/**
 * Removes the first entries if they have expired, or if refunds have emptied them. What is further ahead than a window or day
 * was charged while the clock was wrong, and counts as now.
 */
function refresh(charges: Charge[], policy: LogPolicy, now: number, departures: number[]): void {
  const latest = policy.kind === 'sliding-window' ? now + policy.window : policy.dayOf(now).end;
  let ahead = 0;
  while ((charges.at(-1)?.at ?? 0) > latest) ahead += charges.pop()?.units ?? 0;
  if (ahead > 0) {
    const time = add(charges, policy.kind === 'sliding-window' ? now : latest, ahead);
    departures.push(time + lifetime(policy));
  }
  while (charges[0] !== undefined && (charges[0].units === 0 || charges[0].at + lifetime(policy) <= now)) {
    charges.shift();
  }
}

/** How long after its time a charge counts. */
function lifetime(policy: LogPolicy): number {
  return policy.kind === 'sliding-window' ? policy.window : 0;
}

/** The first departure after which `enough` is true of what is then still in use. */
function firstDeparture(
  policy: LogPolicy,
  counter: readonly Charge[],
  enough: (left: number) => boolean,
): number | undefined {
  const departures = counter.map(({ at }) => at + lifetime(policy)).sort((a, b) => a - b);
  return departures.find((now) => enough(sum(counter.filter(({ at }) => at + lifetime(policy) > now))));
}
