// A record begins with a word: its kind, and above it the number of its counters. All records are whole numbers of 8 bytes.
// Numbers are written as this processor has them; the header of a file says which way that is.

/** Declares counters: JSON of the policy. */
export const POLICY = 1;
/** Gives a slot to a key. */
export const TAKE = 2;
export const CHARGE = 3;
/** Grants a hold. */
export const HOLD = 4;
export const RENEW = 5;
/** Ends a hold, and logs what it has used. */
export const END = 6;
/** Corrects a charge. */
export const CORRECT = 7;
/** Forgets what was charged. */
export const CLEAR = 8;
/** All of a counter. */
export const COUNTER = 9;
/** The highest token of the counters that were forgotten. */
export const FORGOTTEN = 10;
/** The clocks, at one moment. */
export const CLOCK = 11;
/** An earlier file is on the disk for good, up to an offset. */
export const SEALED = 12;
/** This file has all counters, so that the earlier ones are not needed. */
export const COMPLETE = 13;
/** Nothing behind it counts. */
export const CLOSED = 14;

/** The lowest bits of the first word are the kind. */
export const KIND_BITS = 8;

/** Of a log in a `COUNTER`: its times are numbers of 64 bits, and not differences. */
export const WIDE = 1;
/** Each of its entries is one unit, so that the units are left out. */
export const ONES = 2;

/** The next multiple of 8. */
export function padded(bytes: number): number {
  return (bytes + 7) & ~7;
}
