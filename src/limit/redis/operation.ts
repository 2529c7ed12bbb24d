import type { QuotaPolicy } from '../policy.js';
import { type Argument, addCharge, tagOf } from './layout.js';

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

/** One operation of the script: which keys it names, how it is written, and how its answer is read. */
export interface Operation {
  /** Redis keys, one for each charge. */
  readonly keys: readonly string[];
  write(args: Argument[], keyIndex: (key: string) => number, serverNow: number): void;
  read(status: Status, at: number, next: () => number): Answer;
  /** What takes back what this has done, if anything. */
  undo?(answer: Answer): Operation | undefined;
}

/** Numbers of the script's statuses, in order. */
export const STATUSES: readonly (Status | 'late')[] = [
  'refused',
  'admitted',
  'other-day',
  'late',
  'wrong-type',
  'foreign',
  'failed',
];

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
    write(args, keyIndex, serverNow) {
      args.push('a', force ? 1 : 0, units, policies.length);
      policies.forEach((policy, i) => {
        addCharge(args, keyIndex(keys[i] as string), policy, serverNow);
      });
    },
    read(status, at, next) {
      if (status !== 'admitted' && status !== 'refused') return { status, at, charged: NOTHING };
      const charged = policies.map(() => ({ total: next(), resetAt: next(), time: next(), generation: next() }));
      return { status, at, charged };
    },
    undo: ({ status, charged }) => (status === 'admitted' ? correction(policies, keys, charged, -units) : undefined),
  };
}

export function peek(policies: readonly QuotaPolicy[], keys: readonly string[]): Operation {
  return {
    keys,
    write(args, keyIndex, serverNow) {
      args.push('p', policies.length);
      policies.forEach((policy, i) => {
        addCharge(args, keyIndex(keys[i] as string), policy, serverNow);
      });
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
    write(args, keyIndex) {
      args.push('s', delta, policies.length);
      policies.forEach((policy, i) => {
        const { generation, time } = charged[i] as Charged;
        args.push(keyIndex(keys[i] as string), tagOf(policy), generation, time);
      });
    },
    read: (status, at) => ({ status, at, charged: NOTHING }),
  };
}

export function forgetting(policies: readonly QuotaPolicy[], keys: readonly string[]): Operation {
  return {
    keys,
    write(args, keyIndex) {
      args.push('r', policies.length);
      policies.forEach((policy, i) => {
        args.push(keyIndex(keys[i] as string), tagOf(policy));
      });
    },
    read: (status, at) => ({ status, at, charged: NOTHING }),
  };
}
