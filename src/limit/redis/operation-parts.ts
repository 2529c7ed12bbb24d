import type { QuotaPolicy } from '../policy.js';
import type { Answer, Charged, Reply, Status } from './operation-answer.js';

/** Where a call carries keys and policies. Operations refer to them by place. */
export interface Places {
  key(key: string): number;
  policy(policy: QuotaPolicy): number;
}

/** One operation of the script: its keys, how it is packed, and how its answer is read. */
export interface Operation {
  /** Redis keys. The first are one for each charge. */
  readonly keys: readonly string[];
  /** How many bytes it takes. */
  readonly size: number;
  /** Packs it from a place of `packed` on, and returns the place behind it. */
  pack(packed: Buffer, start: number, places: Places): number;
  /** Reads the part of a reply that follows its status. */
  read(status: Status, at: number, reply: Reply): Answer;
  /** The operation that gives back what this one charged, if it charged anything. */
  undo?(answer: Answer): Operation | undefined;
  /** Called if it has failed, or is not sent again and may have run. */
  givenUp?(): void;
}

/** More than any limit, and the most that the script can read. */
export const MAX_UNITS = 0xffffffff;

/** Of an operation that reports nothing. */
export const NOTHING: readonly Charged[] = Object.freeze([]);

/** Packs the places of a key and a policy. */
export function packCharge(packed: Buffer, at: number, places: Places, policy: QuotaPolicy, key: string): number {
  return packed.writeUInt16BE(places.policy(policy), packed.writeUInt16BE(places.key(key), at));
}

/** Reads the figures of each charge. */
export function readCharged(status: Status, policies: readonly unknown[], reply: Reply): readonly Charged[] {
  if (status !== 'admitted' && status !== 'refused') return NOTHING;
  // An array that grows reserves room for many more.
  if (policies.length === 1) return [reply.charged()];
  if (policies.length === 2) return [reply.charged(), reply.charged()];
  return policies.map(() => reply.charged());
}
