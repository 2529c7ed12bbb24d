import { type MemoryStore, memoryStore } from '../../../src/limit/memory/memory-store.js';
import { dailyQuota, type QuotaPolicy, slidingWindow } from '../../../src/limit/policy.js';
import type { Receipt } from '../../../src/limit/store.js';
import { ManualClock } from '../../contracts/limit-store.js';

/** When the clock of `setup()` begins. */
export const NOON = Date.UTC(2025, 5, 15, 12);

export const perSecond = (limit: number) => slidingWindow({ limit, window: '1s', name: 'second' });
export const perMinute = (limit: number) => slidingWindow({ limit, window: '1m', name: 'minute' });
export const perDay = (limit: number) => dailyQuota({ limit });

export function setup(maxEntries: number): { readonly store: MemoryStore; readonly clock: ManualClock } {
  const clock = new ManualClock(NOON);
  return { store: memoryStore({ maxEntries, now: clock.now }), clock };
}

export function passes(store: MemoryStore, policy: QuotaPolicy, key: string, units = 1): boolean {
  return store.admit([policy], [key], [units]).kind === 'admitted';
}

export function receiptOf(store: MemoryStore, policy: QuotaPolicy, key: string, units = 1): Receipt {
  const decision = store.admit([policy], [key], [units]);
  if (decision.kind === 'refused') throw new Error(`${units} of ${policy.name} refused`);
  return decision.receipt;
}

export const remaining = (store: MemoryStore, policy: QuotaPolicy, key: string) =>
  store.peek([policy], [key])[0]?.remaining;
