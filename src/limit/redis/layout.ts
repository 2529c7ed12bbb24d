import { hash } from 'node:crypto';
import type { QuotaPolicy } from '../policy.js';

/** The script's numbers of the kinds of counters. */
const DAY = 0;
const NARROW = 1;
const WIDE = 2;

/** The longest window, in milliseconds, with narrow entries: half of their 32 bits, as the oldest may have expired. */
const MAX_NARROW_WINDOW = 2 ** 31;

/** The Redis key that holds all counters of a partition key. One key is one value, and one slot of a Cluster. */
export function redisKey(prefix: string, key: string): string {
  // UTF-8 has no lone surrogates: two keys that differ in them would become one.
  return prefix + (key.isWellFormed() ? key : hash('sha256', Buffer.from(key, 'utf16le'), 'hex'));
}

/** The length of a tag, which replaces the policy's id in Redis. */
const TAG_BYTES = 3;

const tagsById = new Map<string, Buffer>();

/** The tag of a counter. @throws Error if another counter of this process has the same tag. */
function tagOf(id: string): Buffer {
  const cached = tagsById.get(id);
  if (cached !== undefined) return cached;
  const tag = hash('sha256', id, 'buffer').subarray(0, TAG_BYTES);
  for (const [otherId, otherTag] of tagsById) {
    if (otherTag.equals(tag)) {
      throw new Error(
        `gatewarden: redisStore cannot distinguish the policies "${otherId}" and "${id}"; rename one of them`,
      );
    }
  }
  tagsById.set(id, tag);
  return tag;
}

/**
 * A policy as the script reads it: its tag, the tag of the tally of what was given back, kind, limit, then start and end of the day, or window and granule. `now`
 * decides which day it is.
 */
export function packPolicy(policy: QuotaPolicy, now: number): Buffer {
  const packed = Buffer.alloc(2 * TAG_BYTES + 21);
  let at = tagOf(policy.id).copy(packed);
  at += tagOf(`${policy.id}/returned`).copy(packed, at);
  if (policy.kind === 'daily-quota') {
    const { start, end } = policy.dayOf(now);
    at = packed.writeUInt8(DAY, at);
    at = packed.writeUInt32BE(policy.limit, at);
    at = packed.writeDoubleBE(start, at);
    packed.writeDoubleBE(end, at);
  } else {
    at = packed.writeUInt8(policy.granule > 1 || policy.window > MAX_NARROW_WINDOW ? WIDE : NARROW, at);
    at = packed.writeUInt32BE(policy.limit, at);
    at = packed.writeDoubleBE(policy.window, at);
    packed.writeDoubleBE(policy.granule, at);
  }
  return packed;
}
