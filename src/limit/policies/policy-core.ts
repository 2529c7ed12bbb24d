import type { Exchange } from '../../core/exchange.js';
import { badOption } from '../../core/option.js';
import type { Cost } from '../cost.js';

/**
 * What a quota is counted by.
 * - `client-ip`: the key that `clientIp` found, or without a `clientIp` guard that of the socket's address.
 * - `principal`: the id of the principal. Needs an `authenticate` before.
 * - `principal-or-client-ip`: the id of the principal if there is one, and otherwise as `client-ip`. For an optional
 *   `authenticate`. The partition key is `principal:` and the id, or `client-ip:` and the key of the address.
 * - `global`: all clients together.
 * - a function that returns a partition key: a non-empty string.
 */
export type PartitionBy =
  | 'client-ip'
  | 'principal'
  | 'principal-or-client-ip'
  | 'global'
  | ((exchange: Exchange) => string);

/** What every policy has. */
export interface PolicyCore {
  /** Appears in the `RateLimit` headers and in refusals. */
  readonly name: string;
  /** Quota units. */
  readonly limit: number;
  /** Overrides the guard's `by` for this policy. */
  readonly by: PartitionBy | undefined;
  /** Overrides the guard's `cost` for this policy. */
  readonly cost: Cost | undefined;
  /** Policies with the same id and partition key share their count. */
  readonly id: string;
  /** Milliseconds. */
  readonly window: number;
}

/** Needs no escaping in a structured-field string (RFC 9651 section 3.3.3) or in a store key. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Checks the optional name of a policy. @throws OptionError */
export function policyName(factory: string, name: string | undefined, defaultName: string): string {
  if (name === undefined) return defaultName;
  if (typeof name !== 'string' || !NAME.test(name)) {
    throw badOption(factory, 'name', 'must be 1 to 64 letters, digits, dots, dashes or underscores', name);
  }
  return name;
}

const NAMES: readonly unknown[] = ['client-ip', 'principal', 'principal-or-client-ip', 'global'];
const BY_RULE = "must be 'client-ip', 'principal', 'principal-or-client-ip', 'global' or a function that returns a key";

/** Checks an optional `by`. @throws OptionError */
export function partitionBy(factory: string, by: PartitionBy | undefined): PartitionBy | undefined {
  if (by === undefined || typeof by === 'function' || NAMES.includes(by)) return by;
  throw badOption(factory, 'by', BY_RULE, by);
}
