import type { QuotaPolicy } from './policy.js';

/** The value of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11, section 3). */
export function policyHeader(policies: readonly QuotaPolicy[]): string {
  return policies.map((policy) => `"${policy.name}";q=${policy.limit}${parametersOf(policy)}`).join(', ');
}

/** Without a unit, `q` counts requests. */
function parametersOf(policy: QuotaPolicy): string {
  // What is held now has no window.
  if (policy.kind === 'concurrency') return ';qu="concurrent-requests"';
  const unit = policy.kind === 'gpu-time' ? ';qu="gpu-milliseconds"' : '';
  return `${unit};w=${Math.ceil(policy.window / 1000)}`;
}
