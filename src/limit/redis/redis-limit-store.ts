import type { QuotaState } from '../../core/quota-state.js';
import type { QuotaPolicy } from '../policy.js';
import type { QueueSettings, WaitingQueue } from '../queue/waiting-queue.js';
import type { Decision, LimitStore, Receipt, SettledJobs } from '../store.js';

/** A limit store in Redis. */
export interface RedisStore extends LimitStore {
  admit(policies: readonly QuotaPolicy[], keys: readonly string[], units: readonly number[]): Promise<Decision>;
  settle(receipt: Receipt, units: readonly (number | undefined)[], jobs?: SettledJobs): Promise<void>;
  renew(receipt: Receipt): Promise<boolean>;
  release(receipt: Receipt): Promise<void>;
  peek(policies: readonly QuotaPolicy[], keys: readonly string[]): Promise<readonly QuotaState[]>;
  reset(policies: readonly QuotaPolicy[], keys: readonly string[]): Promise<void>;
  queue(settings: QueueSettings): WaitingQueue;
  /** Stops its timers and its use of the client. The client stays open. */
  close(): void;
}
