/**
 * What an operator has decided about one client.
 * - `suspended`: the client is refused.
 * - `exceeds-quotas`: the client may exceed its own quotas.
 */
export interface Measure {
  readonly kind: 'suspended' | 'exceeds-quotas';
  /** The id of the client, never a key. */
  readonly client: string;
  /** When it began, in epoch milliseconds. */
  readonly since: number;
  /** When it ends by itself, in epoch milliseconds. Undefined if it does not. */
  readonly until: number | undefined;
  /** The id of the operator. */
  readonly by: string;
}

/**
 * Keeps the measures of operators. Every verb is one atomic step. A store that cannot read or write throws or rejects. It may
 * forget measures that have ended.
 */
export interface OperatorStore {
  /** All measures. Some may have ended. */
  list(): readonly Measure[] | Promise<readonly Measure[]>;
  /**
   * Adds a measure, so that it survives from then on what the store survives. `exists`, and nothing changes, if the client has
   * one of this kind that has not ended at the `since` of the new one. `full` if there is no room.
   */
  add(measure: Measure): AddedMeasure | Promise<AddedMeasure>;
  /** Removes a measure. Returns whether it was there. */
  remove(kind: Measure['kind'], client: string): boolean | Promise<boolean>;
}

/** The answer to `add`. */
export type AddedMeasure = 'added' | 'exists' | 'full';

/** The most measures that a store keeps. */
export const MAX_MEASURES = 10_000;

/** Whether a measure applies at a time. */
export function isInForce({ until }: Measure, now: number): boolean {
  return until === undefined || now < until;
}

/** Reads a measure from JSON. Undefined for anything else. */
export function readMeasure(value: unknown): Measure | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { kind, client, since, until, by } = value as Readonly<Record<string, unknown>>;
  if (kind !== 'suspended' && kind !== 'exceeds-quotas') return undefined;
  if (typeof client !== 'string' || typeof by !== 'string' || !Number.isFinite(since)) return undefined;
  if (until !== undefined && !Number.isFinite(until)) return undefined;
  return { kind, client, since: since as number, until: until as number | undefined, by };
}
