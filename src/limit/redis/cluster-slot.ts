import calculateSlot from 'cluster-key-slot';
import type { RedisClient } from './client.js';

/** The slot of a key. One call of a script reaches keys of one slot only. Outside a Cluster there is one slot, 0. */
export function slotOf(client: RedisClient, key: string): number {
  return client.isCluster ? calculateSlot(key) : 0;
}

const tagsBySlot = new Map<number, string>();
let triedTags = 0;

/** A short hash tag whose keys are in this slot. Found by trial; each tag that a search finds is cached. */
export function hashTagOf(slot: number): string {
  let tag = tagsBySlot.get(slot);
  while (tag === undefined) {
    const candidate = (triedTags++).toString(36);
    const candidateSlot = calculateSlot(candidate);
    if (!tagsBySlot.has(candidateSlot)) tagsBySlot.set(candidateSlot, candidate);
    if (candidateSlot === slot) tag = candidate;
  }
  return tag;
}
