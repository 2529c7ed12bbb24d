import type { QuotaPolicy } from '../policy.js';
import { StoreError } from '../store.js';
import { TAG_BYTES, tagOf } from './layout.js';

/** What one charge came to. */
export interface Charged {
  /** Units in use, with the charge where it was admitted. */
  readonly total: number;
  readonly resetAt: number;
  /** Admitted: the entry's time or the day's end. Refused: when this policy would pass, -1 never, 0 it would now. */
  readonly time: number;
  readonly generation: number;
}

/** Everything else is a failure of the keys that the operation names. */
export type Status = 'refused' | 'admitted' | 'other-day' | 'wrong-type' | 'foreign' | 'failed';

export interface Answer {
  readonly status: Status;
  /** The server's time, in epoch milliseconds. */
  readonly at: number;
  readonly charged: readonly Charged[];
}

/** Where a call of the script keeps the keys and policies that its operations name; each stands there once. */
export interface Names {
  key(key: string): number;
  policy(policy: QuotaPolicy): number;
}

/** One operation of the script: which keys it names, how it is packed, and how its answer is read. */
export interface Operation {
  /** Redis keys, one for each charge. */
  readonly keys: readonly string[];
  pack(names: Names): Buffer;
  read(status: Status, at: number, next: () => number): Answer;
  /** What takes back what this has done, if anything. */
  undo?(answer: Answer): Operation | undefined;
}

/** Numbers of the script's operations. */
const ADMIT = 1;
const PEEK = 2;
const SETTLE = 3;
const RESET = 4;

const CHARGE_BYTES = 4;
/** More than any limit, and as much as the script reads. */
const MAX_UNITS = 0xffffffff;

/** Numbers of the script's statuses, in order. */
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

/** The failure that an answer tells of which is neither a refusal nor an admission. */
export function misuse(keys: readonly string[], status: Exclude<Status, 'refused' | 'admitted'>): StoreError {
  const why = {
    'other-day': 'its clock and ours are at odds about the day',
    'wrong-type': 'a key of that name holds another type',
    foreign: 'its value is not of this version',
    failed: 'the value cannot be read',
  }[status];
  return new StoreError('GATEWARDEN_STORE_DATA', `redisStore cannot count ${keys.join(', ')}: ${why}`);
}

const NOTHING: readonly Charged[] = Object.freeze([]);

/** `force` charges also beyond the limit: what has been admitted already, elsewhere. */
export function admission(
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
  units: number,
  force = false,
): Operation {
  return {
    keys,
    pack(names) {
      const packed = Buffer.allocUnsafe(6 + policies.length * CHARGE_BYTES);
      packed.writeUInt8(ADMIT, 0);
      packed.writeUInt8(force ? 1 : 0, 1);
      packed.writeUInt32BE(Math.min(units, MAX_UNITS), 2);
      return packCharges(packed, 6, names, policies, keys);
    },
    read(status, at, next) {
      if (status !== 'admitted' && status !== 'refused') return { status, at, charged: NOTHING };
      const charged = policies.map(() => ({ total: next(), resetAt: next(), time: next(), generation: next() }));
      return { status, at, charged };
    },
    undo({ status, charged }) {
      // What was forced has been admitted elsewhere: nobody was refused for want of an answer.
      return status === 'admitted' && !force ? correction(policies, keys, charged, -units) : undefined;
    },
  };
}

export function peek(policies: readonly QuotaPolicy[], keys: readonly string[]): Operation {
  return {
    keys,
    pack(names) {
      const packed = Buffer.allocUnsafe(1 + policies.length * CHARGE_BYTES);
      packed.writeUInt8(PEEK, 0);
      return packCharges(packed, 1, names, policies, keys);
    },
    read(status, at, next) {
      if (status !== 'admitted') return { status, at, charged: NOTHING };
      return { status, at, charged: policies.map(() => ({ total: next(), resetAt: next(), time: 0, generation: 0 })) };
    },
  };
}

/** Adds `delta` units, or takes them away, where an admission put them. */
export function correction(
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
  charged: readonly Charged[],
  delta: number,
): Operation {
  return {
    keys,
    pack(names) {
      const packed = Buffer.allocUnsafe(9 + policies.length * (TAG_BYTES + 11));
      packed.writeUInt8(SETTLE, 0);
      let at = packed.writeDoubleBE(delta, 1);
      policies.forEach((policy, i) => {
        const { generation, time } = charged[i] as Charged;
        at = packed.writeUInt16BE(names.key(keys[i] as string), at);
        at += tagOf(policy).copy(packed, at);
        at = packed.writeUInt8(generation, at);
        at = packed.writeDoubleBE(time, at);
      });
      return packed;
    },
    read: (status, at) => ({ status, at, charged: NOTHING }),
  };
}

export function forgetting(policies: readonly QuotaPolicy[], keys: readonly string[]): Operation {
  return {
    keys,
    pack(names) {
      const packed = Buffer.allocUnsafe(1 + policies.length * (TAG_BYTES + 2));
      let at = packed.writeUInt8(RESET, 0);
      policies.forEach((policy, i) => {
        at = packed.writeUInt16BE(names.key(keys[i] as string), at);
        at += tagOf(policy).copy(packed, at);
      });
      return packed;
    },
    read: (status, at) => ({ status, at, charged: NOTHING }),
  };
}

function packCharges(
  packed: Buffer,
  start: number,
  names: Names,
  policies: readonly QuotaPolicy[],
  keys: readonly string[],
): Buffer {
  let at = start;
  policies.forEach((policy, i) => {
    at = packed.writeUInt16BE(names.key(keys[i] as string), at);
    at = packed.writeUInt16BE(names.policy(policy), at);
  });
  return packed;
}
