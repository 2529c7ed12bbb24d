import type { Exchange } from '../core/exchange.js';
import type { QuotaState } from '../core/quota-state.js';
import type { QuotaPolicy } from './policy.js';

/** `RateLimit-Policy` for a fixed list of policies (draft-ietf-httpapi-ratelimit-headers, section 3). */
export function policyHeader(policies: readonly QuotaPolicy[]): string {
  return policies.map(({ name, limit, window }) => `"${name}";q=${limit};w=${Math.ceil(window / 1000)}`).join(', ');
}

/** Seconds until `time`, rounded up: a client that waits so long is never too early. */
export function secondsUntil(time: number, now: number): number {
  return Math.max(0, Math.ceil((time - now) / 1000));
}

/** Adds `RateLimit-Policy` and `RateLimit`; members of an earlier `limit` on the same route are kept. */
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
 * Sets the classic `X-RateLimit-*` from the policy that is nearest to refusing, those of an earlier `limit` on the same
 * route among them; of a refusal, from the one that refused.
 */
export function setLegacyRateLimit(exchange: Exchange, states: readonly QuotaState[], refused: boolean): void {
  let tightest = states[0];
  for (const state of states) if (tightest === undefined || state.remaining < tightest.remaining) tightest = state;
  if (tightest === undefined) return;
  const before = exchange.get('X-RateLimit-Remaining');
  if (!refused && before !== undefined && Number(before) <= tightest.remaining) return;
  exchange.set('X-RateLimit-Limit', String(tightest.limit));
  exchange.set('X-RateLimit-Remaining', String(tightest.remaining));
  exchange.set('X-RateLimit-Reset', String(Math.ceil(tightest.resetAt / 1000)));
}
