import type { Exchange } from '../core/exchange.js';
import { badOption, boolean, callback, checkOptionNames, type OptionNames } from '../core/option.js';
import { type PolicySource, policySource } from './bound-policies.js';
import { type Cost, fixedOrFunction } from './cost.js';
import type { LimitDecision } from './limit-decision.js';
import { plainMemoryStore } from './memory/plain-memory-store.js';
import { type PartitionBy, partitionBy, type QuotaPolicy } from './policy.js';
import { type CheckedQueueOptions, checkQueueOptions, type QueueOptions } from './queue/queue-options.js';
import type { CapacityStatus } from './quota-refusal.js';
import { type RefundCause, refundCauses } from './refund.js';
import type { LimitStore } from './store.js';
import { checkStore } from './store-failure.js';

/** Options of `limit`. */
export interface LimitOptions {
  /**
   * What to count by; `client-ip` is the usual choice. Required unless every policy has its own `by`. `client-ip` counts
   * by what `clientIp` found. Without a `clientIp` guard it counts by the socket's address, which behind a proxy is the
   * proxy's. `principal` needs an `authenticate` before the guard.
   */
  readonly by?: PartitionBy | undefined;
  /**
   * One policy or a list. A request is charged to all of them or to none, so their names must differ. A function returns
   * the policies of each exchange, such as the limits of its principal; a list that it returns again is not checked again.
   */
  readonly policies:
    | readonly QuotaPolicy[]
    | QuotaPolicy
    | ((exchange: Exchange) => QuotaPolicy | readonly QuotaPolicy[]);
  /**
   * Where to count. Default: a memory store of the guard's own. Guards that share counts need one store, and so do several
   * processes.
   */
  readonly store?: LimitStore | undefined;
  /**
   * Quota units that a request costs under a `slidingWindow` or `dailyQuota` without a `cost` of its own: a positive
   * integer, or a function that returns one. Default 1.
   */
  readonly cost?: Cost | undefined;
  /**
   * Which requests are not charged, such as those of a monitor. They pass without a header. Default none. It must return a
   * boolean at once: a promise is a fault, and the request does not pass.
   */
  readonly skip?: ((exchange: Exchange) => boolean | undefined) | undefined;
  /**
   * When the charge is refunded: a later guard refused before a byte of the body was read (`refused`) or after it
   * (`refused-after-body`), the handler answered with a 5xx (`server-error`), or the client left (`aborted`). Default
   * `refused` and `server-error`. Use `[]` for a limit before `authenticate` that slows down guessing. The refunds of one
   * window never exceed the limit.
   */
  readonly refundOn?: readonly RefundCause[] | undefined;
  /** Sends `RateLimit-Policy` and `RateLimit`. Default true, or false if `enforce` is. */
  readonly headers?: boolean | undefined;
  /** Also sets `X-RateLimit-Limit`, `-Remaining` and `-Reset` (epoch seconds). Default false. */
  readonly legacyHeaders?: boolean | undefined;
  /**
   * The status of `capacity-exceeded`, if a `concurrency` counted by `global` is full, and of `queue-full` and
   * `queue-timeout`. Default 503. Use 429 if a load balancer takes a process out of service that answers 503.
   */
  readonly capacityStatus?: CapacityStatus | undefined;
  /**
   * Lets a request wait if slots of a `concurrency` are all that it lacks. Waiting requests are served in fair order: next
   * is the client that was served least. Every other policy is decided before, and everything is charged when it is admitted. The
   * queue is for the slots counted by `global`, or else for the first `concurrency`; its `cost` must be 1. A limit that is
   * not enforced has no queue. Default: such a request is refused at once.
   */
  readonly queue?: QueueOptions | undefined;
  /**
   * Set it to false to try a limit on live traffic. The limit decides, charges and reports as usual, but lets every request
   * pass, even if a policy has no room, the store fails, or there is no key to count by. Default true.
   */
  readonly enforce?: boolean | undefined;
  /** Receives every decision. An error that it throws is reported as a fault and changes no decision. */
  readonly onDecision?: ((decision: LimitDecision, exchange: Exchange) => void) | undefined;
}

const OPTIONS: OptionNames<LimitOptions> = {
  by: true,
  policies: true,
  store: true,
  cost: true,
  skip: true,
  refundOn: true,
  headers: true,
  legacyHeaders: true,
  capacityStatus: true,
  queue: true,
  enforce: true,
  onDecision: true,
};

/** The checked options of `limit`. */
export interface LimitSettings {
  readonly guardBy: PartitionBy | undefined;
  readonly source: PolicySource;
  readonly store: LimitStore;
  readonly cost: Cost;
  readonly skip: LimitOptions['skip'];
  readonly refundOn: readonly RefundCause[];
  readonly headers: boolean;
  readonly legacyHeaders: boolean;
  readonly capacityStatus: CapacityStatus;
  readonly queue: CheckedQueueOptions | undefined;
  readonly enforce: boolean;
  readonly onDecision: LimitOptions['onDecision'];
}

/** Checks the options of `limit`. @throws OptionError */
export function checkLimitOptions(options: LimitOptions): LimitSettings {
  checkOptionNames('limit', options, OPTIONS);
  const cost = fixedOrFunction('limit', options.cost) ?? 1;
  const { enforce = true, legacyHeaders = false, capacityStatus = 503 } = options;
  boolean('limit', 'enforce', enforce);
  const { headers = enforce } = options;
  boolean('limit', 'headers', headers);
  boolean('limit', 'legacyHeaders', legacyHeaders);
  if (capacityStatus !== 429 && capacityStatus !== 503) {
    throw badOption('limit', 'capacityStatus', 'must be 429 or 503', capacityStatus);
  }
  const skip = callback('limit', 'skip', options.skip);
  const onDecision = callback('limit', 'onDecision', options.onDecision);
  const queue = options.queue === undefined ? undefined : checkQueueOptions(options.queue);
  const refundOn = refundCauses(options.refundOn);
  const guardBy = partitionBy('limit', options.by);
  const source = policySource(options.policies, guardBy, cost);
  const store = options.store === undefined ? plainMemoryStore() : checkStore('limit', options.store);
  return {
    guardBy,
    source,
    store,
    cost,
    skip,
    refundOn,
    headers,
    legacyHeaders,
    capacityStatus,
    queue,
    enforce,
    onDecision,
  };
}
