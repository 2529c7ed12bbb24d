import type { Exchange } from '../core/exchange.js';
import type { QuotaState } from '../core/quota-state.js';
import type { BoundPolicies } from './bound-policies.js';
import { holds, type QuotaPolicy } from './policy.js';
import type { Violation } from './store.js';

/** Seconds until `time`, rounded up so that a client that waits so long is never too early. */
export function secondsUntil(time: number, now: number): number {
  return Math.max(0, Math.ceil((time - now) / 1000));
}

const NO_VIOLATIONS: readonly Violation[] = Object.freeze([]);

/** Whether only the end of something that is held could admit the request: then `Retry-After` is sooner than its window. */
function waitsForHold(violations: readonly Violation[], state: QuotaState | undefined, now: number): boolean {
  for (const { state: violated, retryAt } of violations) {
    if (violated.name === state?.name) return retryAt !== null && retryAt <= now;
  }
  return false;
}

/** Adds `RateLimit-Policy` and `RateLimit` to what an earlier `limit` on the same route has set. */
export function addRateLimit(
  exchange: Exchange,
  { header, items, policies }: BoundPolicies,
  states: readonly QuotaState[],
  now: number,
  violations: readonly Violation[] = NO_VIOLATIONS,
): void {
  let members = '';
  for (let i = 0; i < states.length; i++) {
    const { remaining, resetAt } = states[i] as QuotaState;
    if (i > 0) members += ', ';
    members += (items[i] as string) + remaining;
    // What is held may become free at any moment. The effective window would say that it does not.
    if (resetAt > now && policies[i]?.kind !== 'concurrency' && !waitsForHold(violations, states[i], now)) {
      members += `;t=${secondsUntil(resetAt, now)}`;
    }
  }
  exchange.append('RateLimit-Policy', header);
  exchange.append('RateLimit', members);
}

/**
 * Sets the widely used `X-RateLimit-*` from the state with the least left. They name no unit, so they only ever speak of
 * windows and days of requests. What an earlier `limit` on the same route has set stays if it has less left, unless this
 * one refused because of the policy named `refusedBy`.
 */
export function setLegacyRateLimit(
  exchange: Exchange,
  { policies }: BoundPolicies,
  states: readonly QuotaState[],
  refusedBy: string | undefined,
): void {
  let decisive: QuotaState | undefined;
  for (let i = 0; i < states.length; i++) {
    const state = states[i] as QuotaState;
    if (holds(policies[i] as QuotaPolicy)) continue;
    if (decisive === undefined || state.name === refusedBy || state.remaining < decisive.remaining) decisive = state;
    if (state.name === refusedBy) break;
  }
  if (decisive === undefined) return;
  const earlier = exchange.get('X-RateLimit-Remaining');
  if (refusedBy === undefined && earlier !== undefined && Number(earlier) <= decisive.remaining) return;
  exchange.set('X-RateLimit-Limit', String(decisive.limit));
  exchange.set('X-RateLimit-Remaining', String(decisive.remaining));
  exchange.set('X-RateLimit-Reset', String(Math.ceil(decisive.resetAt / 1000)));
}
