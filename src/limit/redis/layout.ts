import { hash } from 'node:crypto';
import type { QuotaPolicy } from '../policy.js';

/** Kinds of counters as the script stores them. */
const DAY = 0;
const NARROW = 1;
const WIDE = 2;

/** Narrow entries tell 32 bits of milliseconds apart; half of that leaves room for the oldest to be evicted. */
const NARROW_WINDOW = 2 ** 31;

/** The name under which Redis keeps all counters of a partition key: one value, and so one slot of a Cluster. */
export function redisKey(prefix: string, key: string): string {
  // What UTF-8 cannot hold would make two keys one.
  return prefix + (key.isWellFormed() ? key : hash('sha256', Buffer.from(key, 'utf16le'), 'hex'));
}

const tags = new Map<string, { id: string; tag: Buffer }>();

/** Bytes that stand for a policy's id. */
export const TAG_BYTES = 3;

/** The tag of a policy: two of one tag could not be told apart, which is noticed here. */
export function tagOf(policy: QuotaPolicy): Buffer {
  const known = tags.get(policy.id);
  if (known !== undefined) return known.tag;
  const tag = hash('sha256', policy.id, 'buffer').subarray(0, TAG_BYTES);
  for (const other of tags.values()) {
    if (other.tag.equals(tag)) {
      throw new Error(`gatewarden: redisStore cannot tell policies "${other.id}" and "${policy.id}" apart: rename one`);
    }
  }
  tags.set(policy.id, { id: policy.id, tag });
  return tag;
}

/** A policy as the script reads it: tag, kind, limit, and two lengths or moments. `now` says which day is meant. */
export function packPolicy(policy: QuotaPolicy, now: number): Buffer {
  const packed = Buffer.alloc(TAG_BYTES + 21);
  let at = tagOf(policy).copy(packed);
  if (policy.kind === 'daily-quota') {
    const { start, end } = policy.dayOf(now);
    at = packed.writeUInt8(DAY, at);
    at = packed.writeUInt32BE(policy.limit, at);
    at = packed.writeDoubleBE(start, at);
    packed.writeDoubleBE(end, at);
  } else {
    at = packed.writeUInt8(policy.granule > 1 || policy.window > NARROW_WINDOW ? WIDE : NARROW, at);
    at = packed.writeUInt32BE(policy.limit, at);
    at = packed.writeDoubleBE(policy.window, at);
    packed.writeDoubleBE(policy.granule, at);
  }
  return packed;
}
