import { type Duration, milliseconds } from '../../core/duration.js';
import { checkOptionNames, type OptionNames, positiveInteger } from '../../core/option.js';
import { type Cost, fixedOrFunction } from '../cost.js';
import { type PartitionBy, type PolicyCore, partitionBy, policyName } from './policy-core.js';

/** Made by `concurrency`. */
export interface Concurrency extends PolicyCore {
  readonly kind: 'concurrency';
  /** How long a hold lasts unless it is renewed, in milliseconds. The same as `window`. */
  readonly lease: number;
}

/** Options of `concurrency`. */
export interface ConcurrencyOptions {
  /** The most that is held at once: 1 to 1000. */
  readonly limit: number;
  /** What this policy is counted by, if not by the guard's `by`. `'global'` is the capacity of the whole service. */
  readonly by?: PartitionBy | undefined;
  /**
   * How long a slot stays occupied after its process has died, such as `'30s'`, which is the default: `'100ms'` to `'24h'`.
   * Live processes renew it at a third of that time.
   */
  readonly lease?: Duration | undefined;
  /** 1 to 64 letters, digits, dots, dashes or underscores. Default `concurrency`. */
  readonly name?: string | undefined;
  /** How many of the limit a request holds. Default 1, whatever the guard's `cost` is. */
  readonly cost?: Cost | undefined;
}

const OPTIONS: OptionNames<ConcurrencyOptions> = { limit: true, by: true, lease: true, name: true, cost: true };

/** The most holds on one counter. */
export const MAX_HOLDS = 1000;
const MAX_LEASE = 86_400_000;
/** Renewed at a third of this, a lease survives a busy event loop. */
const MIN_LEASE = 100;

/**
 * Admits at most `limit` exchanges at once. Each holds a slot until it ends, or until the work that `holdUntil` names has
 * ended. A slot whose process dies is free again after `lease`. Policies of one name share their count if their store and
 * partition key are the same.
 *
 * ```ts
 * limit({ policies: [concurrency({ limit: 1, by: 'global' }), concurrency({ limit: 1, by: 'principal', name: 'share' })] })
 * ```
 * @throws OptionError
 */
export function concurrency(options: ConcurrencyOptions): Concurrency {
  checkOptionNames('concurrency', options, OPTIONS);
  const limit = positiveInteger('concurrency', 'limit', options.limit, MAX_HOLDS);
  const lease = leaseOf('concurrency', options.lease);
  const name = policyName('concurrency', options.name, 'concurrency');
  return Object.freeze({
    kind: 'concurrency',
    name,
    limit,
    window: lease,
    lease,
    by: partitionBy('concurrency', options.by),
    cost: fixedOrFunction('concurrency', options.cost) ?? 1,
    id: `${name}/concurrency`,
  });
}

/** Checks the option `lease` of a policy. @throws OptionError */
export function leaseOf(factory: string, lease: Duration | undefined): number {
  return milliseconds(factory, 'lease', lease ?? '30s', MAX_LEASE, MIN_LEASE);
}
