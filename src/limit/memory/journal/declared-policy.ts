import { dayCalendar } from '../../day.js';
import type { QuotaPolicy } from '../../policy.js';

/** How a policy is declared in a journal, so that its counters can be made again before its limit is. */
export interface DeclaredPolicy {
  readonly id: string;
  readonly kind: QuotaPolicy['kind'];
  readonly name: string;
  readonly limit: number;
  readonly window: number;
  readonly granule: number;
  readonly lease: number;
  /** Undefined for a window. */
  readonly timeZone: string | undefined;
  /** Of counters that keys share: the secret that assigns them, and how many there are. */
  readonly shared: { readonly secret: string; readonly count: number } | undefined;
}

export function declare(policy: QuotaPolicy, shared: DeclaredPolicy['shared']): DeclaredPolicy {
  const { id, kind, name, limit, window } = policy;
  return {
    id,
    kind,
    name,
    limit,
    window,
    granule: 'granule' in policy ? policy.granule : 1,
    lease: 'lease' in policy ? policy.lease : 0,
    timeZone: 'timeZone' in policy ? policy.timeZone : undefined,
    shared,
  };
}

/**
 * Whether the records of one policy can be read with the declaration of the other. Their limits may differ, since a record has
 * its own. So may the ticks of a window, which follow from the limit: only those of holds are needed to read what they used.
 */
export function countAlike(one: QuotaPolicy, other: QuotaPolicy): boolean {
  return (
    one === other ||
    (one.id === other.id &&
      one.kind === other.kind &&
      one.name === other.name &&
      one.window === other.window &&
      ('estimate' in one ? one.granule : 1) === ('estimate' in other ? other.granule : 1) &&
      ('lease' in one ? one.lease : 0) === ('lease' in other ? other.lease : 0) &&
      ('timeZone' in one ? one.timeZone : undefined) === ('timeZone' in other ? other.timeZone : undefined))
  );
}

/** The policy of a declaration, for its counters only. Undefined if the text declares none that this version knows. */
export function declaredPolicy(text: string): { policy: QuotaPolicy; shared: DeclaredPolicy['shared'] } | undefined {
  const declared = parsed(text);
  if (declared === undefined) return undefined;
  const { id, name, limit, window, granule, lease, timeZone, shared } = declared;
  const common = { id, name, limit, window, by: undefined, cost: undefined };
  const dayOf = timeZone === undefined ? undefined : dayCalendar(timeZone);
  if (timeZone !== undefined && dayOf === undefined) return undefined;
  switch (declared.kind) {
    case 'sliding-window':
      return { policy: { ...common, kind: 'sliding-window', granule }, shared };
    case 'daily-quota':
      if (timeZone === undefined || dayOf === undefined) return undefined;
      return { policy: { ...common, kind: 'daily-quota', timeZone, dayOf }, shared };
    case 'concurrency':
      return { policy: { ...common, kind: 'concurrency', lease }, shared };
    case 'gpu-time':
      return { policy: { ...common, kind: 'gpu-time', granule, lease, estimate: 1, timeZone, dayOf }, shared };
    default:
      return undefined;
  }
}

function parsed(text: string): DeclaredPolicy | undefined {
  try {
    const value: DeclaredPolicy = JSON.parse(text);
    const texts = [value.id, value.name, value.kind];
    const numbers = [value.limit, value.window, value.granule, value.lease];
    const isRight = texts.every((part) => typeof part === 'string') && numbers.every(Number.isFinite);
    return isRight && value.window > 0 && value.granule > 0 ? value : undefined;
  } catch {
    return undefined;
  }
}
