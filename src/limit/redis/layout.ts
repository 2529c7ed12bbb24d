import { hash } from 'node:crypto';
import type { QuotaPolicy } from '../policy.js';

/** Kinds of counters as the script stores them. */
const DAY = 0;
const NARROW = 1;
const WIDE = 2;

/** Narrow entries tell 32 bits of milliseconds apart; half of that leaves room for the oldest to be evicted. */
const NARROW_WINDOW = 2 ** 31;

export type Argument = string | number | Buffer;

/** The name under which Redis keeps all counters of a partition key. The braces keep it in one slot of a Cluster. */
export function redisKey(prefix: string, key: string): string {
  // What UTF-8 cannot hold would make two keys one; braces in the key would end the hash tag early.
  const text = key.isWellFormed() ? key : hash('sha256', Buffer.from(key, 'utf16le'), 'hex');
  return `${prefix}{${/[%{}]/.test(text) ? text.replace(/[%{}]/g, encodeURIComponent) : text}}`;
}

const tags = new Map<string, { id: string; tag: Buffer }>();

/** Four bytes that stand for a policy's id. */
export function tagOf(policy: QuotaPolicy): Buffer {
  const known = tags.get(policy.id);
  if (known !== undefined) return known.tag;
  const tag = hash('sha256', policy.id, 'buffer').subarray(0, 4);
  for (const other of tags.values()) {
    if (other.tag.equals(tag)) {
      throw new Error(`gatewarden: redisStore cannot tell policies "${other.id}" and "${policy.id}" apart: rename one`);
    }
  }
  tags.set(policy.id, { id: policy.id, tag });
  return tag;
}

/** Appends what the script needs to know of one charge. `serverNow` says which day a daily quota would charge. */
export function addCharge(args: Argument[], keyIndex: number, policy: QuotaPolicy, serverNow: number): void {
  args.push(keyIndex, tagOf(policy));
  if (policy.kind === 'daily-quota') {
    const { start, end } = policy.dayOf(serverNow);
    args.push(DAY, policy.limit, start, end);
  } else {
    const kind = policy.granule > 1 || policy.window > NARROW_WINDOW ? WIDE : NARROW;
    args.push(kind, policy.limit, policy.window, policy.granule);
  }
}
