import type { Exchange } from '../core/exchange.js';
import { badOption, OptionError } from '../core/option.js';
import { ignoreRejection, isThenable } from '../core/thenable.js';
import { AT_ONCE } from './cost.js';
import { storedKey } from './partition.js';
import type { GpuTime, LearnedEstimate, QuotaPolicy } from './policy.js';

/** Milliseconds that a job of this exchange is expected to take. @throws OptionError for what a function returned */
export function estimateOf(policy: GpuTime, key: string, exchange: Exchange): number {
  const { estimate, id, limit } = policy;
  if (typeof estimate === 'number') return estimate;
  // Not `instanceof`: the class would be loaded, and its cache, also where no estimate is learned.
  if (typeof estimate === 'object') return estimate.of(learningKey(id, estimate, key, exchange), limit);
  const ms = estimate(exchange);
  if (isThenable(ms)) {
    ignoreRejection(ms);
    throw new OptionError(`gatewarden: gpuTime "estimate" must be milliseconds, got a promise; ${AT_ONCE}`);
  }
  if (typeof ms !== 'number' || !(ms > 0 && ms <= Number.MAX_SAFE_INTEGER)) {
    throw badOption('gpuTime', 'estimate', 'must return milliseconds, more than 0', ms);
  }
  return Math.ceil(ms);
}

/** Gives a learned estimate the time that a job has taken, in milliseconds. What fails in it is a fault, and ends no hold late. */
export function learn(policy: QuotaPolicy, key: string, exchange: Exchange, ms: number): void {
  if (policy.kind !== 'gpu-time' || typeof policy.estimate !== 'object') return;
  // A client that cuts its jobs short must not make its estimate small.
  if (exchange.deadline?.isShortened && exchange.deadline.remaining() === 0) return;
  try {
    policy.estimate.learn(learningKey(policy.id, policy.estimate, key, exchange), ms);
  } catch (error) {
    exchange.fault(error);
  }
}

function learningKey(id: string, estimate: LearnedEstimate, key: string, exchange: Exchange): string {
  return `${id} ${storedKey(estimate.keyOf(exchange, key))}`;
}
