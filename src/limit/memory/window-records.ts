import type { EntrySlab } from './entry-slab.js';
import { MAX_SIZE_CLASS, placeInChunk } from './entry-slab.js';
import { placeOf, SEGMENT } from './segments.js';

/** The most units of one entry. A correction may charge any number. */
export const MAX_UNITS = 0xffffffff;

// A log of a window is a record of 32 bytes. Three numbers of 64 bits:
const NUMBERS = 4;
/** The times of the newest and the oldest entry, held here so that most admissions read no entry. */
export const NEWEST = 0;
export const OLDEST = 1;
/** The units of all entries. Zero in an empty log only. */
export const TOTAL = 2;
// And two of 32 bits, counted in steps of 32 bits:
const WORDS = 8;
/** Where in the slab the ring of entries is. A log of one entry needs no ring: NEWEST and TOTAL are the entry. */
export const BLOCK = 6;
/** The number of entries, the place of the oldest in the ring, and the size class of the ring or zero. */
export const RING = 7;

export const COUNT = 0x7ff;
export const HEAD_SHIFT = 11;
export const HEAD = 0x3ff;
export const CLASS_SHIFT = 21;

/** The records of one segment of slots. */
export class WindowRecords {
  readonly numbers = new Float64Array(SEGMENT * NUMBERS);
  readonly words = new Uint32Array(this.numbers.buffer);
}

/** Where the numbers of a slot are. */
export function numbersOf(slot: number): number {
  return placeOf(slot) * NUMBERS;
}

/** Where the words of a slot are. */
export function wordsOf(slot: number): number {
  return placeOf(slot) * WORDS;
}

/** Whether a ring is full. It has entries. */
export function isFull(ring: number): boolean {
  return (ring & COUNT) === 1 << (ring >>> CLASS_SHIFT);
}

/** Where in the slab entry `n` of a log with two or more entries is. */
export function entryOf(words: Uint32Array, w: number, n: number): number {
  const ring = words[w + RING] as number;
  const mask = (1 << (ring >>> CLASS_SHIFT)) - 1;
  return (words[w + BLOCK] as number) + ((((ring >>> HEAD_SHIFT) & HEAD) + n) & mask);
}

/** Adds units to the newest entry. Returns how many it could. */
export function addToNewest({ numbers, words }: WindowRecords, slot: number, units: number, slab: EntrySlab): number {
  const w = wordsOf(slot);
  const count = (words[w + RING] as number) & COUNT;
  if (count === 1) return Math.min(units, MAX_UNITS - (numbers[numbersOf(slot) + TOTAL] as number));
  const entry = entryOf(words, w, count - 1);
  const before = slab.units(entry);
  const after = Math.min(MAX_UNITS, before + units);
  slab.write(entry, slab.time(entry), after);
  return after - before;
}

/** Adds the second entry of a log, for which it needs a ring. */
export function startRing(
  { numbers, words }: WindowRecords,
  slot: number,
  time: number,
  units: number,
  slab: EntrySlab,
): void {
  const d = numbersOf(slot);
  const w = wordsOf(slot);
  let sizeClass = (words[w + RING] as number) >>> CLASS_SHIFT;
  if (sizeClass === 0) {
    sizeClass = 1;
    words[w + BLOCK] = slab.allocate(sizeClass);
  }
  const block = words[w + BLOCK] as number;
  slab.write(block, numbers[d + NEWEST] as number, numbers[d + TOTAL] as number);
  slab.write(block + 1, time, units);
  words[w + RING] = (sizeClass << CLASS_SHIFT) | 2;
}

/** Drops the oldest entries up to a time, and those that refunds have emptied: the oldest says when units become available. */
export function drop({ numbers, words }: WindowRecords, slot: number, until: number, slab: EntrySlab): void {
  const d = numbersOf(slot);
  const w = wordsOf(slot);
  const ring = words[w + RING] as number;
  let count = ring & COUNT;
  let head = (ring >>> HEAD_SHIFT) & HEAD;
  const mask = (1 << (ring >>> CLASS_SHIFT)) - 1;
  let total = numbers[d + TOTAL] as number;
  let oldest = numbers[d + OLDEST] as number;
  if (count > 1) {
    const block = words[w + BLOCK] as number;
    const start = placeInChunk(block);
    const times = slab.timesOf(block);
    const units = slab.unitsOf(block);
    while (count > 1) {
      const leaving = units[start + head] as number;
      if (oldest > until && leaving > 0) break;
      total -= leaving;
      head = (head + 1) & mask;
      count--;
      oldest = count === 1 ? (numbers[d + NEWEST] as number) : (times[start + head] as number);
    }
  }
  if (count === 1 && (oldest <= until || total === 0)) {
    total = 0;
    count = 0;
  }
  numbers[d + TOTAL] = total;
  numbers[d + OLDEST] = oldest;
  words[w + RING] = (ring & ~(COUNT | (HEAD << HEAD_SHIFT))) | (head << HEAD_SHIFT) | count;
}

/** Makes room in a full ring: drops the entries that refunds have emptied, or else moves to a block of twice the size. */
export function makeRoom({ words }: WindowRecords, slot: number, slab: EntrySlab): void {
  const w = wordsOf(slot);
  const ring = words[w + RING] as number;
  const sizeClass = ring >>> CLASS_SHIFT;
  const count = ring & COUNT;
  let remaining = 0;
  for (let n = 0; n < count; n++) {
    const entry = entryOf(words, w, n);
    const units = slab.units(entry);
    if (units === 0) continue;
    if (remaining !== n) slab.write(entryOf(words, w, remaining), slab.time(entry), units);
    remaining++;
  }
  words[w + RING] = (ring & ~COUNT) | remaining;
  if (remaining < count) return;
  if (sizeClass === MAX_SIZE_CLASS) {
    throw new RangeError('gatewarden: a window holds more entries than its limit allows');
  }
  const block = slab.allocate(sizeClass + 1);
  for (let n = 0; n < count; n++) {
    const entry = entryOf(words, w, n);
    slab.write(block + n, slab.time(entry), slab.units(entry));
  }
  slab.release(words[w + BLOCK] as number, sizeClass);
  words[w + BLOCK] = block;
  words[w + RING] = ((sizeClass + 1) << CLASS_SHIFT) | count;
}

/** Empties a log. */
export function clear({ numbers, words }: WindowRecords, slot: number, slab: EntrySlab): void {
  const w = wordsOf(slot);
  const sizeClass = (words[w + RING] as number) >>> CLASS_SHIFT;
  if (sizeClass > 0) slab.release(words[w + BLOCK] as number, sizeClass);
  words[w + RING] = 0;
  numbers[numbersOf(slot) + TOTAL] = 0;
}
