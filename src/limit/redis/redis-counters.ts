import type { QuotaState } from '../../core/quota-state.js';
import type { QuotaPolicy } from '../policy.js';
import type { Violation } from '../store.js';
import {
  type Answer,
  admission,
  type Charged,
  correction,
  type Operation,
  operationFailure,
  peek,
  reset,
} from './operation.js';
import { OperationBatcher } from './operation-batcher.js';
import type { SlotCharges } from './receipt.js';
import type { ScriptClient } from './script-client.js';
import type { SettleQueue } from './settle-queue.js';

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

/** The policies and keys of a request that are in one slot, and their places in the request. */
interface SlotPart {
  readonly places: readonly number[];
  readonly policies: readonly QuotaPolicy[];
  readonly keys: readonly string[];
}

/** The counters of requests in Redis. In a Cluster, keys in several slots are charged one slot after another. */
export class RedisCounters {
  readonly #slotOf: (key: string) => number;
  readonly #batcher: OperationBatcher;
  readonly #settles: SettleQueue;
  readonly #onCorrected: (keys: readonly string[]) => void;

  /** `onCorrected` is called with the keys of each correction, once it has been sent. */
  constructor(
    script: ScriptClient,
    settles: SettleQueue,
    slotOf: (key: string) => number,
    onCorrected: (keys: readonly string[]) => void,
  ) {
    this.#settles = settles;
    this.#slotOf = slotOf;
    this.#onCorrected = onCorrected;
    this.#batcher = new OperationBatcher(script, (operations, answers) => this.#undoLate(operations, answers));
  }

  /** Charges every policy or none. If a later slot refuses, what earlier slots have charged is given back. */
  async admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: number): Promise<RedisDecision> {
    const states: QuotaState[] = new Array(policies.length);
    const violations: (Violation | undefined)[] = new Array(policies.length);
    const charges: SlotCharges[] = [];
    let at = 0;
    let refused = false;
    const parts = this.#partsOf(policies, keys);
    try {
      for (const part of parts) {
        const operation = refused ? peek(part.policies, part.keys) : admission(part.policies, part.keys, units);
        const { status, charged, ...answer } = await this.#run(operation);
        at = answer.at;
        if (!refused && status === 'admitted') charges.push({ policies: part.policies, keys: part.keys, charged });
        if (status === 'refused') refused = true;
        forEachPlace(part, charged, (place, policy, figures) => {
          const state = stateOf(policy, figures);
          states[place] = state;
          if (status !== 'refused' || figures.time === 0) return;
          violations[place] = { state, retryAt: figures.time < 0 ? null : figures.time };
        });
      }
    } catch (error) {
      void this.#correct(charges, -units, false);
      throw error;
    }
    if (!refused) return { kind: 'admitted', at, states, charges };
    if (charges.length > 0) await this.#correct(charges, -units, false);
    return { kind: 'refused', at, states, violations: violations.filter((violation) => violation !== undefined) };
  }

  async peek(policies: readonly QuotaPolicy[], keys: readonly string[]): Promise<readonly QuotaState[]> {
    const states: QuotaState[] = new Array(policies.length);
    for (const part of this.#partsOf(policies, keys)) {
      const { charged } = await this.#run(peek(part.policies, part.keys));
      forEachPlace(part, charged, (place, policy, figures) => {
        states[place] = stateOf(policy, figures);
      });
    }
    return states;
  }

  async reset(policies: readonly QuotaPolicy[], keys: readonly string[]): Promise<void> {
    for (const part of this.#partsOf(policies, keys)) await this.#run(reset(part.policies, part.keys));
  }

  /**
   * Adds `delta` units to the charges of an admitted request; what is given back is bounded. Resolves when Redis has
   * done so, or when it is postponed because of an outage.
   */
  settle(charges: readonly SlotCharges[], delta: number): Promise<void> {
    return this.#correct(charges, delta, true);
  }

  /** Charges an earlier admission, even beyond the limit. `onCharged` is called for each slot, whenever it answers. */
  charge(
    policies: readonly QuotaPolicy[],
    keys: readonly string[],
    units: number,
    onCharged: (charges: SlotCharges) => void,
  ): void {
    for (const part of this.#partsOf(policies, keys)) {
      void this.#settles.send(admission(part.policies, part.keys, units, true), ({ charged }) =>
        onCharged({ policies: part.policies, keys: part.keys, charged }),
      );
    }
  }

  async #correct(charges: readonly SlotCharges[], delta: number, bounded: boolean): Promise<void> {
    if (delta === 0) return;
    await Promise.all(
      charges.map(async ({ policies, keys, charged }) => {
        await this.#settles.send(correction(policies, keys, charged, delta, bounded));
        this.#onCorrected(keys);
      }),
    );
  }

  #partsOf(policies: readonly QuotaPolicy[], keys: readonly string[]): readonly SlotPart[] {
    const placesBySlot = new Map<number, number[]>();
    keys.forEach((key, i) => {
      if (keys.some((other, j) => j < i && other === key && policies[j]?.id === policies[i]?.id)) {
        throw new RangeError(`gatewarden: policy "${policies[i]?.name}" appears twice in one admission for one key`);
      }
      const slot = this.#slotOf(key);
      const places = placesBySlot.get(slot);
      if (places === undefined) placesBySlot.set(slot, [i]);
      else places.push(i);
    });
    return [...placesBySlot.values()].map((places) => ({
      places,
      policies: places.map((place) => policies[place] as QuotaPolicy),
      keys: places.map((place) => keys[place] as string),
    }));
  }

  /** Runs one operation, and repeats it once if the server's day was not the one that we assumed. */
  async #run(operation: Operation): Promise<Answer> {
    let answer = await this.#batcher.run(operation);
    if (answer.status === 'other-day') answer = await this.#batcher.run(operation);
    if (answer.status === 'admitted' || answer.status === 'refused') return answer;
    throw operationFailure(operation.keys, answer.status);
  }

  /** These requests were refused because the answer was late, so what it charged is given back. */
  #undoLate(operations: readonly Operation[], answers: readonly Answer[]): void {
    operations.forEach((operation, i) => {
      const undo = operation.undo?.(answers[i] as Answer);
      if (undo !== undefined) void this.#settles.send(undo);
    });
  }
}

function forEachPlace(
  { places, policies }: SlotPart,
  charged: readonly Charged[],
  each: (place: number, policy: QuotaPolicy, figures: Charged) => void,
): void {
  places.forEach((place, i) => {
    each(place, policies[i] as QuotaPolicy, charged[i] as Charged);
  });
}

function stateOf({ name, limit }: QuotaPolicy, { total, resetAt }: Charged): QuotaState {
  return { name, limit, remaining: Math.max(0, limit - total), resetAt };
}
