import type { Exchange } from '../core/exchange.js';
import type { QuotaState } from '../core/quota-state.js';
import type { QuotaPolicy } from './policy.js';

/** The value of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers, section 3). */
export function policyHeader(policies: readonly QuotaPolicy[]): string {
  return policies.map(({ name, limit, window }) => `"${name}";q=${limit};w=${Math.ceil(window / 1000)}`).join(', ');
}

/** Seconds until `time`, rounded up so that a client that waits so long is never too early. */
export function secondsUntil(time: number, now: number): number {
  return Math.max(0, Math.ceil((time - now) / 1000));
}

/** Adds `RateLimit-Policy` and `RateLimit` to what an earlier `limit` on the same route has set. */
export function addRateLimit(exchange: Exchange, policies: string, states: readonly QuotaState[], now: number): void {
  let members = '';
  for (const { name, remaining, resetAt } of states) {
    if (members !== '') members += ', ';
    members += `"${name}";r=${remaining}`;
    if (resetAt > now) members += `;t=${secondsUntil(resetAt, now)}`;
  }
  exchange.append('RateLimit-Policy', policies);
  exchange.append('RateLimit', members);
}

/**
 * Sets the widely used `X-RateLimit-*` from the state with the least left. What an earlier `limit` on the same route has
 * set stays if it has less left, unless this one refused.
 */
export function setLegacyRateLimit(exchange: Exchange, states: readonly QuotaState[], refused: boolean): void {
  let tightest = states[0];
  for (const state of states) if (tightest === undefined || state.remaining < tightest.remaining) tightest = state;
  if (tightest === undefined) return;
  const earlier = exchange.get('X-RateLimit-Remaining');
  if (!refused && earlier !== undefined && Number(earlier) <= tightest.remaining) return;
  exchange.set('X-RateLimit-Limit', String(tightest.limit));
  exchange.set('X-RateLimit-Remaining', String(tightest.remaining));
  exchange.set('X-RateLimit-Reset', String(Math.ceil(tightest.resetAt / 1000)));
}
