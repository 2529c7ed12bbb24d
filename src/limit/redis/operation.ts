import type { QuotaPolicy } from '../policy.js';
import { StoreError } from '../store.js';

/** The script's answer about one policy. */
export interface Charged {
  /** Units in use. If admitted, this charge included. */
  readonly total: number;
  /** When more units become free, in epoch milliseconds. */
  readonly resetAt: number;
  /**
   * Admitted: the time of the entry, or the end of the day, that holds the charge. Refused: when this policy would
   * admit the request, 0 if it would now, -1 if it never will.
   */
  readonly time: number;
  /** How often the counter was reset. A correction of an earlier generation changes nothing. */
  readonly generation: number;
}

/** How an operation ended. All but `refused` and `admitted` are failures. */
export type Status = 'refused' | 'admitted' | 'other-day' | 'wrong-type' | 'foreign' | 'failed';

/** The script's answer to one operation. */
export interface Answer {
  readonly status: Status;
  /** The server's time, in epoch milliseconds. */
  readonly at: number;
  /** For each policy, in the order of the operation; empty if there is nothing to report. */
  readonly charged: readonly Charged[];
}

/** Where a call carries keys and policies, each once. Operations refer to them by place. */
export interface Places {
  key(key: string): number;
  policy(policy: QuotaPolicy): number;
}

/** One operation of the script: its keys, how it is packed, and how its answer is read. */
export interface Operation {
  /** Redis keys, one for each charge. */
  readonly keys: readonly string[];
  pack(places: Places): Buffer;
  read(status: Status, at: number, next: () => number): Answer;
  /** The operation that gives back what this one charged, if it charged anything. */
  undo?(answer: Answer): Operation | undefined;
}

/** The script's numbers of the operations. */
const ADMIT = 1;
const PEEK = 2;
const SETTLE = 3;
const RESET = 4;

const CHARGE_BYTES = 4;
/** More than any limit, and the most that the script can read. */
const MAX_UNITS = 0xffffffff;

/** The script's statuses. The index is the number that the script sends. `late` and `lost` concern a whole call. */
export const STATUSES: readonly (Status | 'late' | 'lost')[] = [
  'refused',
  'admitted',
  'other-day',
  'late',
  'wrong-type',
  'foreign',
  'failed',
  'lost',
];

/** The error for an operation that was neither refused nor admitted. */
export function operationFailure(keys: readonly string[], status: Exclude<Status, 'refused' | 'admitted'>): StoreError {
  const reason = {
    'other-day': 'the clocks of Redis and of this process are on different days; synchronize them',
    'wrong-type': 'a key holds another type of value; delete it or choose another prefix',
    foreign: 'a value was not written by this version; delete it or choose another prefix',
    failed: 'Redis could not read a value; check that its user may run GET',
  }[status];
  return new StoreError('GATEWARDEN_STORE_DATA', `redisStore cannot use the counters at ${keys.join(', ')}: ${reason}`);
}

const NOTHING: readonly Charged[] = Object.freeze([]);

/** Charges all policies, or none if one refuses. `force` charges beyond the limit, for units admitted elsewhere. */
export function admission(
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
  units: number,
  force = false,
): Operation {
  return {
    keys,
    pack(places) {
      const packed = Buffer.allocUnsafe(6 + policies.length * CHARGE_BYTES);
      packed.writeUInt8(ADMIT, 0);
      packed.writeUInt8(force ? 1 : 0, 1);
      packed.writeUInt32BE(Math.min(units, MAX_UNITS), 2);
      return packCharges(packed, 6, places, policies, keys);
    },
    read(status, at, next) {
      if (status !== 'admitted' && status !== 'refused') return { status, at, charged: NOTHING };
      const charged = policies.map(() => ({ total: next(), resetAt: next(), time: next(), generation: next() }));
      return { status, at, charged };
    },
    undo({ status, charged }) {
      // A forced charge reports an earlier admission. The request was not refused, so nothing is given back.
      return status === 'admitted' && !force ? correction(policies, keys, charged, -units) : undefined;
    },
  };
}

/** Reads the counters and charges nothing. */
export function peek(policies: readonly QuotaPolicy[], keys: readonly string[]): Operation {
  return {
    keys,
    pack(places) {
      const packed = Buffer.allocUnsafe(1 + policies.length * CHARGE_BYTES);
      packed.writeUInt8(PEEK, 0);
      return packCharges(packed, 1, places, policies, keys);
    },
    read(status, at, next) {
      if (status !== 'admitted') return { status, at, charged: NOTHING };
      return { status, at, charged: policies.map(() => ({ total: next(), resetAt: next(), time: 0, generation: 0 })) };
    },
  };
}

/**
 * Adds `delta` units to the charges of an admission; a negative number removes units. If `bounded`, the units removed
 * from the charges of one window or day never exceed the policy's limit, and the rest stays charged.
 */
export function correction(
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
  charged: readonly Charged[],
  delta: number,
  bounded = false,
): Operation {
  return {
    keys,
    pack(places) {
      const packed = Buffer.allocUnsafe(10 + policies.length * (CHARGE_BYTES + 9));
      packed.writeUInt8(SETTLE, 0);
      packed.writeUInt8(bounded ? 1 : 0, 1);
      let at = packed.writeDoubleBE(delta, 2);
      policies.forEach((policy, i) => {
        const { generation, time } = charged[i] as Charged;
        at = packCharge(packed, at, places, policy, keys[i] as string);
        at = packed.writeUInt8(generation, at);
        at = packed.writeDoubleBE(time, at);
      });
      return packed;
    },
    read: (status, at) => ({ status, at, charged: NOTHING }),
  };
}

/** Empties the counters. Earlier admissions can no longer be corrected in them. */
export function reset(policies: readonly QuotaPolicy[], keys: readonly string[]): Operation {
  return {
    keys,
    pack(places) {
      const packed = Buffer.allocUnsafe(1 + policies.length * CHARGE_BYTES);
      packed.writeUInt8(RESET, 0);
      return packCharges(packed, 1, places, policies, keys);
    },
    read: (status, at) => ({ status, at, charged: NOTHING }),
  };
}

function packCharges(
  packed: Buffer,
  start: number,
  places: Places,
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
): Buffer {
  let at = start;
  policies.forEach((policy, i) => {
    at = packCharge(packed, at, places, policy, keys[i] as string);
  });
  return packed;
}

function packCharge(packed: Buffer, at: number, places: Places, policy: QuotaPolicy, key: string): number {
  return packed.writeUInt16BE(places.policy(policy), packed.writeUInt16BE(places.key(key), at));
}
