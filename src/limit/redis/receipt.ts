import type { QuotaState } from '../../core/quota-state.js';
import { holds, type QuotaPolicy } from '../policy.js';
import type { Decision, Hold, Receipt, Violation } from '../store.js';
import type { Charged } from './operation.js';

/** The charges of one admission in one slot of Redis. */
export interface SlotCharges {
  readonly policies: readonly QuotaPolicy[];
  readonly keys: readonly string[];
  readonly charged: readonly Charged[];
  /** Their places among the policies of the admission. */
  readonly places: readonly number[];
}

/** What Redis decided about one admission. */
export type RedisDecision =
  | {
      readonly kind: 'admitted';
      readonly at: number;
      readonly states: readonly QuotaState[];
      readonly charges: SlotCharges[];
    }
  | {
      readonly kind: 'refused';
      readonly at: number;
      readonly states: readonly QuotaState[];
      readonly violations: readonly Violation[];
    };

/** Units for each policy of an admission, or undefined for those that stay as they are. */
export type UnitsOrNot = readonly (number | undefined)[];

/** Of an admission of which no policy has a lease. */
export const NO_HOLDS: readonly undefined[] = Object.freeze([]);

/** The receipt of one admission. */
export class RedisReceipt {
  /** What the work really cost, for each policy that was settled. Zero for a hold that was released. */
  readonly settledUnits: (number | undefined)[] = [];

  constructor(
    /** The store that made this receipt. */
    readonly store: object,
    readonly units: readonly number[],
    /** What Redis has charged. A local admission is added when Redis has charged it, after the outage. */
    readonly charges: SlotCharges[],
    /** The local share's own receipt, if this process admitted the request by itself. */
    readonly localReceipt: Receipt | undefined,
  ) {}

  /** Notes what policies are settled to. Returns that for those that were not settled before. */
  settle(units: UnitsOrNot): UnitsOrNot {
    return this.units.map((_, i) => {
      if (units[i] === undefined || this.settledUnits[i] !== undefined) return undefined;
      this.settledUnits[i] = units[i];
      return units[i];
    });
  }

  /** What to change in Redis for policies that are settled. A hold has charged nothing before it ends. */
  changesFor(settled: UnitsOrNot): UnitsOrNot {
    const changes = settled.map((units, i) => (units === undefined ? undefined : units - (this.units[i] as number)));
    for (const { policies, places } of this.charges) {
      policies.forEach((policy, i) => {
        const place = places[i] as number;
        if (holds(policy)) changes[place] = settled[place];
      });
    }
    return changes;
  }

  /** Notes that all holds end. Returns what to change in Redis. */
  release(): UnitsOrNot {
    const held = new Set(this.held().flatMap(({ places }) => places));
    return this.changesFor(this.settle(this.units.map((_, i) => (held.has(i) ? 0 : undefined))));
  }

  /** The charges that are holds, and were neither settled nor released. */
  held(): readonly SlotCharges[] {
    return this.charges.flatMap(({ policies, keys, charged, places }) => {
      const isHeld = (_: unknown, i: number) =>
        holds(policies[i] as QuotaPolicy) && this.settledUnits[places[i] as number] === undefined;
      if (!policies.some(isHeld)) return [];
      return {
        policies: policies.filter(isHeld),
        keys: keys.filter(isHeld),
        charged: charged.filter(isHeld),
        places: places.filter(isHeld),
      };
    });
  }
}

/** A store's own receipt, or the part of it that may hold something. @throws TypeError if another store made it */
export function receiptOf(store: object, receipt: Receipt): RedisReceipt {
  const own = receipt instanceof PartsReceipt ? receipt.rest : receipt;
  if (own instanceof RedisReceipt && own.store === store) return own;
  throw new TypeError('gatewarden: redisStore did not make this receipt');
}

/** The decision about a request that Redis has admitted. */
export function admitted(
  store: object,
  policies: readonly QuotaPolicy[],
  units: readonly number[],
  { at, states, charges }: Extract<RedisDecision, { kind: 'admitted' }>,
): Decision {
  const receipt = new RedisReceipt(store, units, charges, undefined);
  const held = policies.some(holds) ? holdsOf(policies, charges) : NO_HOLDS;
  return { kind: 'admitted', at, states, holds: held, receipt };
}

/** What an admission holds of each policy. */
function holdsOf(policies: readonly QuotaPolicy[], charges: readonly SlotCharges[]): readonly (Hold | undefined)[] {
  const granted: (Hold | undefined)[] = policies.map(() => undefined);
  for (const { places, charged } of charges) {
    for (const [i, place] of places.entries()) {
      const { time, generation } = charged[i] as Charged;
      if (holds(policies[place] as QuotaPolicy)) granted[place] = { slot: generation, token: time };
    }
  }
  return granted;
}

/** The receipt of an admission of which a part was decided from units that were taken ahead, and the rest otherwise. */
export class PartsReceipt {
  constructor(
    /** Everything that is held is in this part. */
    readonly rest: Receipt,
    readonly restPlaces: readonly number[],
    readonly hot: RedisReceipt,
    readonly hotPlaces: readonly number[],
  ) {}

  /** Settles both parts by `settle`. */
  async settle(units: UnitsOrNot, settle: (receipt: Receipt, units: UnitsOrNot) => Promise<void>): Promise<void> {
    const of = (places: readonly number[]) => places.map((place) => units[place]);
    await Promise.all([settle(this.rest, of(this.restPlaces)), settle(this.hot, of(this.hotPlaces))]);
  }
}
