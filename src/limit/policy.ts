import type { Concurrency } from './policies/concurrency.js';
import type { DailyQuota } from './policies/daily-quota.js';
import type { GpuTime } from './policies/gpu-time.js';
import type { SlidingWindow } from './policies/sliding-window.js';

export { type Concurrency, type ConcurrencyOptions, concurrency } from './policies/concurrency.js';
export { type DailyQuota, type DailyQuotaOptions, dailyQuota } from './policies/daily-quota.js';
export { type Estimate, type GpuTime, type GpuTimeOptions, gpuTime } from './policies/gpu-time.js';
export { LearnedEstimate, type LearnedEstimateOptions, learnedEstimate } from './policies/learned-estimate.js';
export { type PartitionBy, partitionBy } from './policies/policy-core.js';
export { type SlidingWindow, type SlidingWindowOptions, slidingWindow } from './policies/sliding-window.js';

/** A policy that counts what it has charged in a window or a day. */
export type LogPolicy = SlidingWindow | DailyQuota;

/** A policy that holds units while an exchange or its work is under way. */
export type HoldPolicy = Concurrency | GpuTime;

/** How much is admitted. Made by `slidingWindow`, `dailyQuota`, `concurrency` or `gpuTime`. */
export type QuotaPolicy = LogPolicy | HoldPolicy;

/** Whether admissions hold units of this policy, under a lease. */
export function holds(policy: QuotaPolicy): policy is HoldPolicy {
  return policy.kind === 'concurrency' || policy.kind === 'gpu-time';
}
