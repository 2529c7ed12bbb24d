import { hash } from 'node:crypto';

/** The Redis keys of a call: that of the queue, and that of the counter of its slots if both are in one slot. */
export type QueueKeys = readonly [queue: string, ...counter: string[]];

/** The keys for the counter `counterKey` of a policy. */
export function queueKeys(prefix: string, counterKey: string, policyId: string): QueueKeys {
  const key = queueKey(prefix, counterKey, policyId);
  return hashTag(counterKey) === undefined ? [key] : [key, counterKey];
}

/**
 * The Redis key of a queue, in the slot of the counter of its slots if that is possible. No partition key can name it: the
 * digest is longer than any of them.
 */
export function queueKey(prefix: string, counterKey: string, policyId: string): string {
  const digest = hash('sha512', `${policyId}\n${counterKey}`, 'hex');
  return `${prefix}queue:{${hashTag(counterKey) ?? digest}}:${policyId}:${digest}`;
}

/** The part of a key that decides about its slot. Undefined if it cannot be the hash tag of another key. */
function hashTag(key: string): string | undefined {
  const open = key.indexOf('{');
  const close = open < 0 ? -1 : key.indexOf('}', open);
  if (close > open + 1) return key.slice(open + 1, close);
  return key.includes('}') ? undefined : key;
}

/** The most characters of a client's name that are stored as they are. */
const MAX_NAME_LENGTH = 64;

/** A client's name as Redis sees it. It is bounded, and different for different clients. */
export function clientName(client: string): string {
  return client.length <= MAX_NAME_LENGTH && client.isWellFormed()
    ? `=${client}`
    : hash('sha256', Buffer.from(client, 'utf16le'), 'base64url');
}
