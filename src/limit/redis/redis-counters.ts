import type { QuotaState } from '../../core/quota-state.js';
import { holds, type QuotaPolicy } from '../policy.js';
import type { Violation } from '../store.js';
import type { JobBookings } from './booking.js';
import {
  type Answer,
  admission,
  type Charged,
  correction,
  type Operation,
  peek,
  renewal,
  reset,
  undoing,
} from './operation.js';
import { OperationBatcher } from './operation-batcher.js';
import type { RedisDecision, SlotCharges, UnitsOrNot } from './receipt.js';
import type { ScriptClient } from './script-client.js';
import type { SettleQueue } from './settle-queue.js';
import { allPlaces, type SlotPart, slotPartsOf } from './slot-parts.js';

/** The counters of requests in Redis. In a Cluster, keys in several slots are charged one slot after another. */
export class RedisCounters {
  readonly #slotOf: (key: string) => number;
  readonly #batcher: OperationBatcher;
  readonly #settles: SettleQueue;
  readonly #onChanged: (keys: readonly string[]) => void;

  /** `onChanged` is called with the keys of all changes but admissions, whenever Redis has made them. */
  constructor(
    script: ScriptClient,
    settles: SettleQueue,
    slotOf: (key: string) => number,
    onChanged: (keys: readonly string[]) => void,
  ) {
    this.#settles = settles;
    this.#slotOf = slotOf;
    this.#onChanged = onChanged;
    this.#batcher = new OperationBatcher(script, (operations, answers) => this.#undoLate(operations, answers));
  }

  /**
   * Charges every policy or none. If a later slot refuses, what earlier slots have charged is given back. Resolves to what
   * `finish` makes of the decision or, if there is none, of the error.
   */
  admit<T>(
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
    units: readonly number[],
    finish: (decision: RedisDecision | undefined, error: unknown) => T,
  ): Promise<T> {
    const parts = this.#partsOf(policies, keys);
    if (parts.length > 1) {
      return this.#admitInTurn(parts, units).then(
        (decision) => finish(decision, undefined),
        (error: unknown) => finish(undefined, error),
      );
    }
    return this.#batcher.run(admission(policies, keys, units), (answer, error) =>
      finish(answer === undefined ? undefined : decisionOf(policies, keys, answer), error),
    );
  }

  async #admitInTurn(parts: readonly SlotPart[], units: readonly number[]): Promise<RedisDecision> {
    const states: QuotaState[] = new Array(units.length);
    const charges: SlotCharges[] = [];
    let violations: readonly Violation[] | undefined;
    let at = 0;
    try {
      for (const { places, policies, keys } of parts) {
        const operation =
          violations === undefined ? admission(policies, keys, inPlaces(places, units)) : peek(policies, keys);
        const answer = await this.#batcher.run(operation);
        const { charged } = answer;
        at = answer.at;
        const ofPart = policies.map((policy, i) => stateOf(policy, charged[i] as Charged));
        for (const [i, place] of places.entries()) states[place] = ofPart[i] as QuotaState;
        if (answer.status === 'refused') violations = violationsOf(ofPart, charged);
        else if (violations === undefined) charges.push({ places, policies, keys, charged });
      }
    } catch (error) {
      void this.#undo(charges, units);
      throw error;
    }
    if (violations === undefined) return { kind: 'admitted', at, states, charges };
    await this.#undo(charges, units);
    return { kind: 'refused', at, states, violations };
  }

  async peek(policies: readonly QuotaPolicy[], keys: readonly string[]): Promise<readonly QuotaState[]> {
    const states: QuotaState[] = new Array(policies.length);
    for (const { places, ...part } of this.#partsOf(policies, keys)) {
      const { charged } = await this.#batcher.run(peek(part.policies, part.keys));
      places.forEach((place, i) => {
        states[place] = stateOf(part.policies[i] as QuotaPolicy, charged[i] as Charged);
      });
    }
    return states;
  }

  async reset(policies: readonly QuotaPolicy[], keys: readonly string[]): Promise<void> {
    for (const part of this.#partsOf(policies, keys)) await this.#batcher.run(reset(part.policies, part.keys));
  }

  /**
   * Adds `changes[i]` units to the charge of policy `i` of an admitted request; what is given back is bounded. A hold ends
   * with these units, and `jobs` are booked. Resolves when Redis has done so, or when it is postponed because of an outage.
   */
  settle(charges: readonly SlotCharges[], changes: UnitsOrNot, jobs?: JobBookings): Promise<void> {
    const settled = this.#correct(charges, changes, true, jobs);
    jobs?.end();
    return settled;
  }

  /**
   * Charges an earlier admission, even beyond the limit. `onCharged` is called for each slot, whenever it answers, with
   * places among these policies.
   */
  charge(
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
    units: readonly number[],
    onCharged: (charges: SlotCharges) => void,
  ): void {
    for (const { places, policies: some, keys: theirs } of this.#partsOf(policies, keys)) {
      void this.#settles.send(admission(some, theirs, inPlaces(places, units), true), ({ charged }) => {
        this.#onChanged(theirs);
        onCharged({ places, policies: some, keys: theirs, charged });
      });
    }
  }

  /** Extends holds by one lease. Returns whether all of them were still held. */
  async renew(held: readonly SlotCharges[]): Promise<boolean> {
    const answers = await Promise.all(
      held.map(({ policies, keys, charged }) => this.#batcher.run(renewal(policies, keys, charged))),
    );
    for (const { keys } of held) this.#onChanged(keys);
    return answers.every(({ status }) => status === 'admitted');
  }

  /** Gives back what a request has charged that is not admitted in the end. */
  async #undo(charges: readonly SlotCharges[], units: readonly number[]): Promise<void> {
    const changes: number[] = [];
    for (const { policies, places } of charges) {
      for (const [i, change] of undoing(policies, inPlaces(places, units)).entries()) {
        changes[places[i] as number] = change;
      }
    }
    await this.#correct(charges, changes, false);
  }

  async #correct(
    charges: readonly SlotCharges[],
    changes: UnitsOrNot,
    bounded: boolean,
    jobs?: JobBookings,
  ): Promise<void> {
    await Promise.all(
      charges.map(async ({ places, policies, keys, charged }) => {
        // To change a log by nothing is no change, but a hold ends with it.
        const isChanged = (_: unknown, i: number) => {
          const change = changes[places[i] as number];
          return change !== undefined && (change !== 0 || holds(policies[i] as QuotaPolicy));
        };
        const units = places.filter(isChanged).map((place) => changes[place] as number);
        if (units.length === 0) return;
        const some = [policies.filter(isChanged), keys.filter(isChanged), charged.filter(isChanged)] as const;
        const operation = correction(...some, units, bounded);
        await this.#settles.send(jobs?.joined(operation) ?? operation, () => this.#onChanged(keys));
        // Also if it is postponed, since Redis may have run it.
        this.#onChanged(keys);
      }),
    );
  }

  #partsOf(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly SlotPart[] {
    return slotPartsOf(policies, keys, this.#slotOf);
  }

  /** These requests were refused because the answer was late, so what it charged is given back. */
  #undoLate(operations: readonly Operation[], answers: readonly Answer[]): void {
    operations.forEach((operation, i) => {
      const { keys } = operation;
      this.#onChanged(keys);
      const undo = operation.undo?.(answers[i] as Answer);
      if (undo !== undefined) void this.#settles.send(undo, () => this.#onChanged(keys));
    });
  }
}

/** The decision about a request whose keys are in one slot. */
function decisionOf(
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
  { status, at, charged }: Answer,
): RedisDecision {
  const states: QuotaState[] = new Array(policies.length);
  for (let i = 0; i < states.length; i++) states[i] = stateOf(policies[i] as QuotaPolicy, charged[i] as Charged);
  return status === 'admitted'
    ? { kind: 'admitted', at, states, charges: [{ places: allPlaces(policies.length), policies, keys, charged }] }
    : { kind: 'refused', at, states, violations: violationsOf(states, charged) };
}

function inPlaces(places: readonly number[], units: readonly number[]): readonly number[] {
  return places.map((place) => units[place] as number);
}

/** The policies that had no room for a request that was refused. */
function violationsOf(states: readonly QuotaState[], charged: readonly Charged[]): readonly Violation[] {
  const violations: Violation[] = [];
  charged.forEach(({ time }, i) => {
    if (time !== 0) violations.push({ state: states[i] as QuotaState, retryAt: time < 0 ? null : time });
  });
  return violations;
}

function stateOf({ name, limit }: QuotaPolicy, { total, resetAt }: Charged): QuotaState {
  return { name, limit, remaining: Math.max(0, limit - total), resetAt };
}
