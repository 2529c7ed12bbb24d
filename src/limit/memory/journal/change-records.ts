import type { MemoryHold } from '../holds.js';
import type { MemoryCharge } from '../memory-admission.js';
import type { FrameBuffer } from './frame-buffer.js';
import {
  CHARGE,
  CLEAR,
  CLOCK,
  CORRECT,
  END,
  FORGOTTEN,
  HOLD,
  KIND_BITS,
  POLICY,
  RENEW,
  SEALED,
  TAKE,
} from './record-kinds.js';

// Each function adds one record. `id` names the counters.

/** Declares counters. `text` is JSON. */
export function addPolicy(buffer: FrameBuffer, id: number, text: string): void {
  head(buffer, 8, POLICY, id, Buffer.byteLength(text));
  buffer.addText(text);
}

export function addTake(buffer: FrameBuffer, id: number, slot: number, key: string, limit: number): void {
  head(buffer, 8, TAKE, id, slot);
  buffer.addKey(key, limit);
}

export function addCharge(buffer: FrameBuffer, id: number, charge: MemoryCharge): void {
  const { now, units, policy } = charge;
  const n = head(buffer, 32, CHARGE, id, charge.slot);
  const { numbers, words } = buffer;
  numbers[n + 1] = now;
  numbers[n + 2] = now + charge.ahead;
  words[2 * n + 6] = units;
  words[2 * n + 7] = policy.limit;
}

export function addHold(buffer: FrameBuffer, id: number, slot: number, hold: MemoryHold, limit: number): void {
  const n = head(buffer, 40, HOLD, id, slot);
  const { numbers, words } = buffer;
  numbers[n + 1] = hold.since;
  numbers[n + 2] = hold.token;
  words[2 * n + 6] = hold.units;
  words[2 * n + 7] = limit;
  words[2 * n + 8] = hold.slot;
  words[2 * n + 9] = hold.lease;
}

export function addRenewal(buffer: FrameBuffer, id: number, slot: number, hold: MemoryHold): void {
  const n = head(buffer, 32, RENEW, id, slot);
  const { numbers, words } = buffer;
  numbers[n + 1] = hold.since;
  numbers[n + 2] = hold.token;
  words[2 * n + 6] = hold.slot;
  words[2 * n + 7] = 0;
}

/** `used` are units that are logged at `now`. */
export function addEnd(
  buffer: FrameBuffer,
  id: number,
  slot: number,
  hold: MemoryHold,
  used: number,
  now: number,
): void {
  const n = head(buffer, 40, END, id, slot);
  const { numbers, words } = buffer;
  numbers[n + 1] = now;
  numbers[n + 2] = hold.token;
  numbers[n + 3] = used;
  words[2 * n + 8] = hold.slot;
  words[2 * n + 9] = 0;
}

/** `isUndone`: the request was never admitted, so that the units do not count as given back. */
export function addCorrection(
  buffer: FrameBuffer,
  id: number,
  charge: MemoryCharge,
  delta: number,
  now: number,
  isUndone: boolean,
): void {
  const n = head(buffer, 40, CORRECT, id, charge.slot);
  const { numbers, words } = buffer;
  numbers[n + 1] = now;
  numbers[n + 2] = charge.now + charge.ahead;
  numbers[n + 3] = delta;
  words[2 * n + 8] = charge.policy.limit;
  words[2 * n + 9] = isUndone ? 1 : 0;
}

export function addClear(buffer: FrameBuffer, id: number, slot: number): void {
  head(buffer, 8, CLEAR, id, slot);
}

export function addForgotten(buffer: FrameBuffer, id: number, token: number): void {
  const n = head(buffer, 16, FORGOTTEN, id, 0);
  buffer.numbers[n + 1] = token;
}

/** Times in milliseconds, `uptime` since the machine was started. */
export function addClock(buffer: FrameBuffer, steady: number, wall: number, uptime: number): void {
  const n = head(buffer, 32, CLOCK, 0, 0);
  const { numbers } = buffer;
  numbers[n + 1] = steady;
  numbers[n + 2] = wall;
  numbers[n + 3] = uptime;
}

export function addSealed(buffer: FrameBuffer, file: number, end: number): void {
  const n = head(buffer, 24, SEALED, 0, 0);
  buffer.numbers[n + 1] = file;
  buffer.numbers[n + 2] = end;
}

/** A record that is only its kind. */
export function addMark(buffer: FrameBuffer, kind: number): void {
  head(buffer, 8, kind, 0, 0);
}

/** The first two words of a record. Returns where it begins, in steps of 8 bytes. */
export function head(buffer: FrameBuffer, bytes: number, kind: number, id: number, slot: number): number {
  const n = buffer.add(bytes);
  const { words } = buffer;
  words[2 * n] = kind | (id << KIND_BITS);
  words[2 * n + 1] = slot;
  return n;
}
