import { hash } from 'node:crypto';
import { holds, type QuotaPolicy } from '../policy.js';

/** The script's numbers of the kinds of counters. */
const DAY = 0;
const NARROW = 1;
const WIDE = 2;
const HOLDS = 4;

/** The longest window, in milliseconds, with narrow entries: half of their 32 bits, as the oldest may have expired. */
const MAX_NARROW_WINDOW = 2 ** 31;

/** With these begin the keys of other stores and of queues, behind the same prefix. */
const RESERVED = /^(?:idempotency|jobs|operator|queue|replay):/;

/**
 * The Redis key that holds all counters of a partition key. One key is one value, and one slot of a Cluster. A client that can
 * choose its partition key, such as the name of its account, cannot name the key of anything else.
 */
export function redisKey(prefix: string, key: string): string {
  // UTF-8 has no lone surrogates: two keys that differ in them would become one.
  if (key.isWellFormed() && !RESERVED.test(key)) return prefix + key;
  // Longer than every key that a limit uses, so that none can equal it.
  return `${prefix}key-sha512:${hash('sha512', Buffer.from(key, 'utf16le'), 'hex')}`;
}

/** The same for all keys of a request. Most requests are counted by one. */
export function redisKeysOf(prefix: string, keys: readonly string[]): readonly string[] {
  const redisKeys: string[] = new Array(keys.length);
  for (let i = 0; i < keys.length; i++) {
    const isSame = i > 0 && keys[i] === keys[i - 1];
    redisKeys[i] = isSame ? (redisKeys[i - 1] as string) : redisKey(prefix, keys[i] as string);
  }
  return redisKeys;
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

/** The tag of a policy's counter, in hexadecimal digits. */
export function tagText({ id }: QuotaPolicy): string {
  return tagOf(id).toString('hex');
}

/** The length of a packed policy. */
export const POLICY_BYTES = 2 * TAG_BYTES + 45;

interface PackedPolicy {
  readonly bytes: Buffer;
  /** The time for which it is valid, in epoch milliseconds: a day has to be packed again for the next day. */
  readonly from: number;
  readonly until: number;
}

const packedPolicies = new WeakMap<QuotaPolicy, PackedPolicy>();

/**
 * A policy as the script reads it: its tag, its kind, the tag of the tally of what was given back, limit, then start and
 * end of the day, or window and granule. A policy with leases has the tag of its holds in place of the tally's, and at the
 * end its lease, the start of the day before and the end of the day after. Others have zeros there. `now` decides which day it is.
 */
export function packPolicy(policy: QuotaPolicy, now: number): Buffer {
  let packed = packedPolicies.get(policy);
  if (packed === undefined || now < packed.from || now >= packed.until) {
    packed = pack(policy, now);
    packedPolicies.set(policy, packed);
  }
  return packed.bytes;
}

function pack(policy: QuotaPolicy, now: number): PackedPolicy {
  const { id, limit } = policy;
  const hasLease = holds(policy);
  const bytes = Buffer.alloc(POLICY_BYTES);
  const tag = tagOf(id);
  tag.copy(bytes);
  bytes[TAG_BYTES] = kindOf(policy);
  let at = TAG_BYTES + 1;
  at += besides(policy, tag).copy(bytes, at);
  at = bytes.writeUInt32BE(limit, at);
  const dayOf = policy.kind === 'daily-quota' || policy.kind === 'gpu-time' ? policy.dayOf : undefined;
  if (dayOf === undefined) {
    at = bytes.writeDoubleBE(policy.window, at);
    at = bytes.writeDoubleBE('granule' in policy ? policy.granule : 1, at);
    if (hasLease) bytes.writeDoubleBE(policy.lease, at);
    return { bytes, from: Number.NEGATIVE_INFINITY, until: Number.POSITIVE_INFINITY };
  }
  const { start, end } = dayOf(now);
  at = bytes.writeDoubleBE(end, bytes.writeDoubleBE(start, at));
  if (hasLease) {
    at = bytes.writeDoubleBE(policy.lease, at);
    at = bytes.writeDoubleBE(dayOf(start - 1).start, at);
    bytes.writeDoubleBE(dayOf(end).end, at);
  }
  return { bytes, from: start, until: end };
}

function kindOf(policy: QuotaPolicy): number {
  switch (policy.kind) {
    case 'daily-quota':
      return DAY;
    case 'concurrency':
      return HOLDS;
    case 'gpu-time':
      // Its units are milliseconds, of which a narrow entry has room for few.
      return policy.dayOf === undefined ? WIDE : DAY;
    case 'sliding-window':
      return policy.granule > 1 || policy.window > MAX_NARROW_WINDOW ? WIDE : NARROW;
  }
}

/** The tag of what a policy keeps beside its log. */
function besides({ id, kind }: QuotaPolicy, tag: Buffer): Buffer {
  if (kind === 'concurrency') return tag;
  return tagOf(kind === 'gpu-time' ? `${id}/held` : `${id}/returned`);
}
