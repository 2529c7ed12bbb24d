import type { Counters } from '../counters.js';
import { DayLog } from '../day-log.js';
import { type Holds, MemoryHold } from '../holds.js';
import type { UnitLog } from '../unit-log.js';
import { WindowLog } from '../window-log.js';
import { head } from './change-records.js';
import type { FrameBuffer } from './frame-buffer.js';
import { COUNTER } from './record-kinds.js';
import type { RecordReader } from './record-reader.js';
import { addWindow, readWindow } from './window-state.js';

/** Adds all of a counter. `key` is empty for one that keys share. */
export function addCounter(buffer: FrameBuffer, id: number, counters: Counters, slot: number, key: string): void {
  head(buffer, 8, COUNTER, id, slot);
  buffer.addKey(key, counters.marks.limit(slot));
  addLog(buffer, counters.log, slot);
  // Their shape is that of the log.
  if (counters.log !== undefined) addLog(buffer, counters.returned, slot, counters.log);
  if (counters.holds !== undefined) addHolds(buffer, counters.holds, slot);
}

/** Reads the rest of what `addCounter` has added, behind the key, into an empty counter. Times of windows are later by `shift`. */
export function readCounter(reader: RecordReader, counters: Counters, slot: number, shift: number): void {
  const { log } = counters;
  if (log instanceof WindowLog) {
    readWindow(reader, () => log, slot, shift);
    readWindow(reader, () => counters.tally() as WindowLog, slot, shift);
  } else if (log !== undefined) {
    readDay(reader, () => log, slot);
    readDay(reader, () => counters.tally(), slot);
  }
  if (counters.holds !== undefined) readHolds(reader, counters.holds, slot, shift);
}

function addLog(buffer: FrameBuffer, log: UnitLog | undefined, slot: number, like = log): void {
  if (like instanceof WindowLog) addWindow(buffer, log instanceof WindowLog ? log : undefined, slot);
  else if (like instanceof DayLog) addDay(buffer, log instanceof DayLog ? log : undefined, slot);
}

function addDay(buffer: FrameBuffer, log: DayLog | undefined, slot: number): void {
  const n = buffer.add(16);
  const total = log?.totalOf(slot) ?? 0;
  buffer.numbers[n] = total === 0 ? 0 : (log?.liveUntil(slot) ?? 0);
  buffer.numbers[n + 1] = total;
}

function readDay(reader: RecordReader, log: () => UnitLog, slot: number): void {
  const end = reader.number();
  const total = reader.number();
  if (total > 0) log().addAt(slot, end, total);
}

function addHolds(buffer: FrameBuffer, holds: Holds, slot: number): void {
  const list = holds.list(slot);
  const n = buffer.add(16 + 32 * list.length);
  const { numbers, words } = buffer;
  numbers[n] = holds.lastToken(slot);
  words[2 * n + 2] = list.length;
  words[2 * n + 3] = 0;
  list.forEach((hold, i) => {
    const at = n + 2 + 4 * i;
    numbers[at] = hold.since;
    numbers[at + 1] = hold.token;
    words[2 * at + 4] = hold.slot;
    words[2 * at + 5] = hold.units;
    words[2 * at + 6] = hold.lease;
    words[2 * at + 7] = 0;
  });
}

function readHolds(reader: RecordReader, holds: Holds, slot: number, shift: number): void {
  const lastToken = reader.number();
  const count = reader.word();
  reader.skip(4);
  for (let i = 0; i < count; i++) {
    const since = reader.number() + shift;
    const token = reader.number();
    const place = reader.word();
    const units = reader.word();
    const lease = reader.word();
    reader.skip(4);
    holds.restore(slot, new MemoryHold(place, token, units, lease, since));
  }
  if (lastToken > 0) holds.restoreToken(slot, lastToken);
}
