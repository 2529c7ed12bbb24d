import type { QuotaPolicy } from '../policy.js';

/** The policies and keys of a request that are in one slot, and their places in the request. */
export interface SlotPart {
  readonly places: readonly number[];
  readonly policies: readonly QuotaPolicy[];
  readonly keys: readonly string[];
}

/** The places of requests that are in one slot as a whole, by their number of policies. */
const ALL_PLACES = Array.from({ length: 9 }, (_, length) => Object.freeze([...Array(length).keys()]));

/** The places of a request that is in one slot as a whole. */
export function allPlaces(count: number): readonly number[] {
  return ALL_PLACES[count] ?? [...Array(count).keys()];
}

/** Divides a request by slots. @throws RangeError if it names a counter twice */
export function slotPartsOf(
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
  slotOf: (key: string) => number,
): readonly SlotPart[] {
  for (let i = 1; i < policies.length; i++) checkDistinct(policies, keys, i);
  // Most requests are counted by one key.
  if (keys.every((key) => key === keys[0])) return [wholeOf(policies, keys)];
  const slots = keys.map(slotOf);
  if (slots.every((slot) => slot === slots[0])) return [wholeOf(policies, keys)];
  return [...new Set(slots)].map((slot) => {
    const inSlot = (_: unknown, i: number) => slots[i] === slot;
    return { places: [...slots.keys()].filter(inSlot), policies: policies.filter(inSlot), keys: keys.filter(inSlot) };
  });
}

function wholeOf(policies: readonly QuotaPolicy[], keys: readonly string[]): SlotPart {
  return { places: allPlaces(policies.length), policies, keys };
}

function checkDistinct(policies: readonly QuotaPolicy[], keys: readonly string[], last: number): void {
  for (let i = 0; i < last; i++) {
    if (policies[i]?.id === policies[last]?.id && keys[i] === keys[last]) {
      throw new RangeError(`gatewarden: policy "${policies[last]?.name}" appears twice in one admission for one key`);
    }
  }
}
