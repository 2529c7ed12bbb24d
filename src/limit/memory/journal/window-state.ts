import { type EntrySlab, MAX_SIZE_CLASS, placeInChunk } from '../entry-slab.js';
import type { WindowLog } from '../window-log.js';
import {
  BLOCK,
  CLASS_SHIFT,
  COUNT,
  entryOf,
  NEWEST,
  numbersOf,
  OLDEST,
  RING,
  TOTAL,
  wordsOf,
} from '../window-records.js';
import type { FrameBuffer } from './frame-buffer.js';
import { ONES, padded, WIDE } from './record-kinds.js';
import type { RecordReader } from './record-reader.js';

const MOST_IN_32_BITS = 0xffffffff;

/** Adds the entries of a log: how many, their times as differences from the oldest, and their units. */
export function addWindow(buffer: FrameBuffer, log: WindowLog | undefined, slot: number): void {
  const records = log?.recordsOf(slot);
  const count = records === undefined ? 0 : (records.words[wordsOf(slot) + RING] as number) & COUNT;
  if (log === undefined || records === undefined || count === 0) {
    const n = buffer.add(8);
    buffer.words[2 * n] = 0;
    buffer.words[2 * n + 1] = 0;
    return;
  }
  const { slab } = log;
  const w = wordsOf(slot);
  const d = numbersOf(slot);
  const oldest = records.numbers[d + OLDEST] as number;
  const newest = records.numbers[d + NEWEST] as number;
  const isWhole = Number.isInteger(oldest) && newest - oldest <= MOST_IN_32_BITS;
  // The total of as many units as entries is not enough: an entry may be empty and another may have two.
  let isOnes = records.numbers[d + TOTAL] === count;
  for (let i = 0; i < count && isOnes && count > 1; i++) isOnes = slab.units(entryOf(records.words, w, i)) === 1;
  const timesAt = buffer.add(16 + (isWhole ? padded(4 * count) : 8 * count)) + 2;
  const unitsAt = isOnes ? 0 : buffer.add(padded(4 * count));
  // After `add`, which may have moved them.
  const { words, numbers } = buffer;
  words[2 * timesAt - 4] = count;
  words[2 * timesAt - 3] = (isWhole ? 0 : WIDE) | (isOnes ? ONES : 0);
  numbers[timesAt - 1] = oldest;
  if (isWhole && count % 2 === 1) words[2 * timesAt + count] = 0;
  if (!isOnes && count % 2 === 1) words[2 * unitsAt + count] = 0;
  for (let i = 0; i < count; i++) {
    const entry = count === 1 ? 0 : entryOf(records.words, w, i);
    const time = count === 1 ? oldest : slab.time(entry);
    if (isWhole) words[2 * timesAt + i] = time - oldest;
    else numbers[timesAt + i] = time;
    if (!isOnes) words[2 * unitsAt + i] = count === 1 ? (records.numbers[d + TOTAL] as number) : slab.units(entry);
  }
}

/** Reads what `addWindow` has added into an empty log, later by `shift`. `log` is only asked for if there are entries. */
export function readWindow(reader: RecordReader, log: () => WindowLog, slot: number, shift: number): void {
  const count = reader.word();
  const flags = reader.word();
  if (count === 0) return;
  if (count > 1 << MAX_SIZE_CLASS) throw reader.fault('a log with too many entries');
  const oldest = reader.number() + shift;
  const isWide = (flags & WIDE) !== 0;
  const isOnes = (flags & ONES) !== 0;
  const timesAt = reader.skip(isWide ? 8 * count : padded(4 * count));
  const unitsAt = isOnes ? 0 : reader.skip(padded(4 * count));
  const { words, numbers } = reader;
  const unitsOf = (i: number): number => (isOnes ? 1 : (words[unitsAt / 4 + i] as number));
  const window = log();
  const records = window.recordsFor(slot);
  const d = numbersOf(slot);
  const w = wordsOf(slot);
  records.numbers[d + OLDEST] = oldest;
  if (count === 1) {
    records.numbers[d + NEWEST] = oldest;
    records.numbers[d + TOTAL] = unitsOf(0);
    // The block of an emptied log stays with it.
    records.words[w + RING] = ((records.words[w + RING] as number) & ~COUNT) | 1;
    return;
  }
  const sizeClass = 32 - Math.clz32(count - 1);
  const block = window.slab.allocate(sizeClass);
  const { times, units, start } = chunkOf(window.slab, block);
  let total = 0;
  for (let i = 0; i < count; i++) {
    const held = isOnes ? 1 : (words[unitsAt / 4 + i] as number);
    times[start + i] = isWide
      ? (numbers[timesAt / 8 + i] as number) + shift
      : oldest + (words[timesAt / 4 + i] as number);
    units[start + i] = held;
    total += held;
  }
  records.numbers[d + NEWEST] = times[start + count - 1] as number;
  records.numbers[d + TOTAL] = total;
  records.words[w + BLOCK] = block;
  records.words[w + RING] = (sizeClass << CLASS_SHIFT) | count;
}

function chunkOf(slab: EntrySlab, block: number) {
  return { times: slab.timesOf(block), units: slab.unitsOf(block), start: placeInChunk(block) };
}
