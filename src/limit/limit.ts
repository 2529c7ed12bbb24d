import { checkExchange } from '../core/check-exchange.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { inOrder } from '../core/guard-order.js';
import type { Reply } from '../core/reply.js';
import { isThenable } from '../core/thenable.js';
import { type BoundPolicies, type BoundPolicy, bindPolicies, unitsOf } from './bound-policies.js';
import { beyondOwnQuotas, withOwnLimits } from './exceeding.js';
import { addRateLimit, setLegacyRateLimit } from './headers.js';
import { report } from './limit-decision.js';
import type { LimitGuard } from './limit-guard.js';
import { checkLimitOptions, type LimitOptions } from './limit-options.js';
import { observedStore } from './observed-store.js';
import { partitionKeys, storedKey } from './partition.js';
import type { PartitionBy, QuotaPolicy } from './policy.js';
import { type Charge, LimitQueue, type NotServed, type Queued, type QueuedSlot } from './queue/limit-queue.js';
import { longestViolation, queueRefusal, quotaRefusal } from './quota-refusal.js';
import { warnOfSecondCharge, warnOfSharedPolicies } from './shared-counts.js';
import { skips } from './skip.js';
import type { Decision } from './store.js';
import { type AdmittingGuard, StoreAdmission } from './store-admission.js';
import { storeFailure } from './store-failure.js';

export type { LimitDecision } from './limit-decision.js';
export type { LimitOptions } from './limit-options.js';
export type { RefundCause } from './refund.js';

/**
 * Limits how much a client may use. If every policy has room for the request's cost, all of them are charged in one atomic
 * step. Otherwise none is charged, and the reply names every policy in the way: 429 `quota-exceeded` if one of them counts
 * what was used, 429 `concurrency-exceeded` if only slots of the caller are missing, 503 `capacity-exceeded` if those of all
 * callers are. Its `Retry-After` is never too early, and is absent if the cost is above a limit. With `queue`, a request
 * that lacks only slots waits for them: 503 `queue-full` or `queue-timeout` if that takes too long. If the store fails, the
 * reply is 503 `store-unavailable`. If there is no key to count by, such as `by: 'principal'` without a principal, that is
 * a fault, never a pass.
 *
 * Writes `exchange.admission`, and the headers `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers).
 * A guard that runs twice for one request charges it twice, and reports a fault once.
 *
 * ```ts
 * limit({ by: 'client-ip', policies: slidingWindow({ limit: 60, window: '1m' }) })
 * ```
 * @throws OptionError
 */
export function limit(options: LimitOptions): LimitGuard {
  const settings = checkLimitOptions(options);
  const { guardBy, source, store, cost, skip, refundOn, headers, legacyHeaders, enforce, onDecision } = settings;
  const partitionKey = partitionKeys({ factory: 'limit', before: 'limit' });
  const queue =
    settings.queue === undefined || !enforce ? undefined : new LimitQueue(settings.queue, store, partitionKey);
  if (source.fixed !== undefined) {
    warnOfSharedPolicies(store, source.fixed.policies);
    queue?.placeIn(source.fixed);
  }
  /** Identifies this guard in the admissions that it makes. */
  const ordinary: AdmittingGuard = { store, refundOn };
  /** For a client that may exceed its quotas: without a limit, refunds would have no bound. */
  const exceeding: AdmittingGuard = { store, refundOn: [] };
  let reportedSecondCharge = false;

  function charge(exchange: Exchange): ReturnType<Guard> {
    if (skip !== undefined && skips(skip(exchange))) return undefined;
    const bound = exchange.exceedsQuotas ? beyondOwnQuotas(source.of(exchange)) : source.of(exchange);
    const keys: string[] = [];
    for (const by of bound.partitions) keys.push(partitionKey(by, exchange));
    const units = bound.fixedUnits ?? unitsOf(bound, cost, exchange, keys);
    if (exchange.admission !== undefined) reportSecondCharge(exchange, exchange.admission, bound, keys);
    if (queue?.isFor(bound)) return chargeInTurn(queue, { exchange, bound, keys, units });
    let decision: Decision | Promise<Decision>;
    try {
      decision = observedStore(exchange, store).admit(bound.policies, keys, units);
    } catch (error) {
      return failed(exchange, error);
    }
    if (!isThenable(decision)) return apply(exchange, bound, keys, decision);
    return Promise.resolve(decision).then(
      (late) => apply(exchange, bound, keys, late),
      (error: unknown) => failed(exchange, error),
    );
  }

  function chargeInTurn(limitQueue: LimitQueue, charged: Charge): ReturnType<Guard> {
    const { exchange, bound, keys } = charged;
    const request = limitQueue.request(charged);
    const come = (queued: Queued): Reply | undefined => {
      switch (queued.kind) {
        case 'decided':
          try {
            return apply(exchange, bound, keys, queued.decision, queued.slot);
          } catch (error) {
            queued.slot?.ticket.ended();
            throw error;
          }
        case 'gone':
          return undefined;
        default:
          return notServed(exchange, queued);
      }
    };
    let queued: Queued | Promise<Queued>;
    try {
      queued = limitQueue.admit(request);
    } catch (error) {
      return failed(exchange, error);
    }
    if (!isThenable(queued)) return come(queued);
    return Promise.resolve(queued).then(come, (error: unknown) => failed(exchange, error));
  }

  /** The queue is full, or the request waited too long. */
  function notServed(exchange: Exchange, { kind, expectedWait }: NotServed): Reply {
    const reply = queueRefusal(kind, expectedWait, settings.capacityStatus);
    if (onDecision !== undefined) report(onDecision, { kind, expectedWait, reply, enforced: true }, exchange);
    return reply;
  }

  function reportSecondCharge(
    exchange: Exchange,
    last: NonNullable<Exchange['admission']>,
    { policies }: BoundPolicies,
    keys: readonly string[],
  ): void {
    if (!StoreAdmission.wasMadeBy(exchange.exceedsQuotas ? exceeding : ordinary, last)) {
      warnOfSecondCharge(last, store, policies, keys);
    } else if (!reportedSecondCharge) {
      reportedSecondCharge = true;
      exchange.fault(new Error(CHARGED_TWICE));
    }
  }

  function apply(
    exchange: Exchange,
    bound: BoundPolicies,
    keys: readonly string[],
    received: Decision,
    slot?: QueuedSlot,
  ): Reply | undefined {
    const { exceedsQuotas } = exchange;
    const decision = exceedsQuotas ? withOwnLimits(received, bound) : received;
    const identity = exceedsQuotas ? exceeding : ordinary;
    if (decision.kind === 'refused') return refused(exchange, bound, decision);
    if (decision.kind !== 'admitted') throw new TypeError(NO_DECISION);
    const admission = new StoreAdmission(identity, exchange, bound, keys, decision, slot);
    exchange.admission = admission;
    // Before all that can fail: what is held is given back at the end, whatever happens.
    if (bound.mayHold || identity.refundOn.length > 0) exchange.onEnd((outcome) => admission.end(outcome));
    // A store may admit without knowing the state of the quotas.
    if (headers && decision.states.length > 0) addRateLimit(exchange, bound, decision.states, decision.at);
    if (legacyHeaders) setLegacyRateLimit(exchange, bound, decision.states, undefined);
    if (onDecision !== undefined) {
      const { kind, at, states } = decision;
      report(onDecision, { kind, at, quotas: states, enforced: enforce }, exchange);
    }
    return undefined;
  }

  function refused(
    exchange: Exchange,
    bound: BoundPolicies,
    { kind, at, states, violations }: Extract<Decision, { kind: 'refused' }>,
  ): Reply | undefined {
    if (headers) addRateLimit(exchange, bound, states, at, violations);
    if (legacyHeaders) setLegacyRateLimit(exchange, bound, states, longestViolation(violations).state.name);
    const reply = quotaRefusal(violations, bound, at, settings.capacityStatus);
    if (onDecision !== undefined) {
      report(onDecision, { kind, at, quotas: states, violations, reply, enforced: enforce }, exchange);
    }
    return enforce ? reply : undefined;
  }

  /** The store did not decide. */
  function failed(exchange: Exchange, error: unknown): Reply | undefined {
    const reply = storeFailure(exchange, error);
    if (onDecision !== undefined) report(onDecision, { kind: 'failed', error, enforced: enforce }, exchange);
    return enforce ? reply : undefined;
  }

  /** A limit that is not enforced lets the request pass, whatever is wrong with the limit. */
  function tryOut(exchange: Exchange): ReturnType<Guard> {
    const pass = (error: unknown): undefined => {
      exchange.fault(error);
      if (onDecision !== undefined) report(onDecision, { kind: 'failed', error, enforced: false }, exchange);
    };
    try {
      const result = charge(exchange);
      return isThenable(result) ? Promise.resolve(result).catch(pass) : result;
    } catch (error) {
      return pass(error);
    }
  }

  /** The policies that `peek` and `reset` cover, and a key for each. */
  function countedBy(
    key: string,
    policies: QuotaPolicy | readonly QuotaPolicy[] | undefined,
  ): [policies: readonly BoundPolicy[], keys: readonly string[]] {
    const bound = policies === undefined ? source.fixed : bindPolicies(policies, guardBy, cost);
    if (bound === undefined) throw new TypeError(UNKNOWN_POLICIES);
    const counted = bound.policies.filter(({ by }) => by === guardBy);
    const stored = storedKey(key);
    return [counted, counted.map(() => stored)];
  }

  const run = enforce ? charge : tryOut;
  const guard = Object.assign(
    function limit(exchange: Exchange) {
      checkExchange('limit', exchange);
      return run(exchange);
    },
    {
      peek(key: string, policies?: QuotaPolicy | readonly QuotaPolicy[]) {
        return store.peek(...countedBy(key, policies));
      },
      reset(key: string, policies?: QuotaPolicy | readonly QuotaPolicy[]) {
        return store.reset(...countedBy(key, policies));
      },
    },
  );
  return inOrder(guard, {
    name: 'limit',
    after: comesAfter(source.fixed?.partitions ?? [guardBy]),
    once: 'it would charge the request twice',
  });
}

/** The guards that find out what these partitions are counted by. */
function comesAfter(partitions: readonly (PartitionBy | undefined)[]): Record<string, string> {
  const has = (by: PartitionBy) => partitions.includes(by) || partitions.includes('principal-or-client-ip');
  return {
    ...(has('principal') ? { authenticate: 'limit counts by the principal' } : {}),
    ...(has('client-ip') ? { clientIp: 'limit counts by the address that clientIp finds' } : {}),
    ...(partitions.includes('principal') ? { idempotent: 'limit would charge a repeat again' } : {}),
  };
}

const CHARGED_TWICE =
  'gatewarden: the same limit(...) ran twice for one request and charged it twice; put it on the route once';
const NO_DECISION =
  "gatewarden: limit got no decision from its store; admit must return one of kind 'admitted' or 'refused'";
const UNKNOWN_POLICIES =
  'gatewarden: limit cannot know which policies this key has, since "policies" is a function; pass them as the second argument';
