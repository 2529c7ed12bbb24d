import type { QuotaPolicy } from '../policy.js';
import { type EntrySlab, placeInChunk } from './entry-slab.js';
import type { LogCharge } from './unit-log.js';
import {
  BLOCK,
  CLASS_SHIFT,
  COUNT,
  HEAD,
  HEAD_SHIFT,
  MAX_UNITS,
  NEWEST,
  numbersOf,
  OLDEST,
  RING,
  TOTAL,
  type WindowRecords,
  wordsOf,
} from './window-records.js';

/** `takeUnits` has left a charge to the general steps. */
export const NOT_TAKEN = -1;

/** Drops, checks and charges in one step: `take` of a log. All numbers of the record are read once and written once. */
export function takeUnits(
  { numbers, words }: WindowRecords,
  charge: LogCharge,
  window: number,
  slab: EntrySlab,
): number {
  const { policy, slot, units, now } = charge;
  const d = numbersOf(slot);
  const w = wordsOf(slot);
  const ring = words[w + RING] as number;
  const time = tickOf(policy, now);
  let count = ring & COUNT;
  // With two entries or more, the ring holds all of them. Later entries than now are left to `used`.
  if (count < 2 || (numbers[d + NEWEST] as number) >= time || units > MAX_UNITS) return NOT_TAKEN;
  const block = words[w + BLOCK] as number;
  const start = placeInChunk(block);
  const times = slab.timesOf(block);
  const entries = slab.unitsOf(block);
  const mask = (1 << (ring >>> CLASS_SHIFT)) - 1;
  const until = now - window;
  let head = (ring >>> HEAD_SHIFT) & HEAD;
  let total = numbers[d + TOTAL] as number;
  let oldest = numbers[d + OLDEST] as number;
  while (oldest <= until || entries[start + head] === 0) {
    total -= entries[start + head] as number;
    head = (head + 1) & mask;
    if (--count === 0) return NOT_TAKEN;
    oldest = times[start + head] as number;
  }
  // Written so that a limit of NaN refuses.
  if (!(total + units <= policy.limit) || count > mask) return NOT_TAKEN;
  const end = start + ((head + count) & mask);
  times[end] = time;
  entries[end] = units;
  numbers[d + NEWEST] = time;
  numbers[d + OLDEST] = oldest;
  numbers[d + TOTAL] = total + units;
  words[w + RING] = (ring & ~(COUNT | (HEAD << HEAD_SHIFT))) | (head << HEAD_SHIFT) | (count + 1);
  charge.ahead = time - now;
  charge.wait = oldest - until;
  return total;
}

/** The time under which units are kept. Rounded up, so that a unit is forgotten late and never early. */
export function tickOf(policy: QuotaPolicy, now: number): number {
  if (!('granule' in policy)) throw new TypeError(`gatewarden: policy "${policy.name}" has no window`);
  return policy.granule === 1 ? Math.ceil(now) : Math.ceil(now / policy.granule) * policy.granule;
}
