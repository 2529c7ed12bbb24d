import { checkExchange } from '../core/check-exchange.js';
import { type Duration, milliseconds } from '../core/duration.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { inOrder } from '../core/guard-order.js';
import { badOption, checkOptionNames, clock, type OptionNames, oneOf } from '../core/option.js';
import { problem } from '../core/problem.js';
import { type Reply, refuse } from '../core/reply.js';
import { ignoreRejection, isThenable } from '../core/thenable.js';
import { ActionRunner } from './action-runner.js';
import type { CancellableJobs, ClientCounters } from './action-subjects.js';
import { applies, type Measures, MeasureView } from './measure-view.js';
import type { ActedRecord, ActionName, OperatorAction, OperatorRecord } from './operator-action.js';
import type { Measure, OperatorStore } from './operator-store.js';

/** Options of `operatorControls`. */
export interface OperatorControlsOptions {
  /** Where measures are kept: `memoryOperatorStore()`, or `redisOperatorStore({ client })` of `gatewarden/redis`. */
  readonly store: OperatorStore;
  /**
   * Receives every action with its result. If it throws, rejects or takes longer than two seconds, a fault is reported, the
   * result does not change, and the operator is told that the action is not in the audit log.
   */
  readonly sink: (record: OperatorRecord) => unknown;
  /**
   * Who a client is: the id of its `principal` (default), its `client-ip`, or what a function returns. A request without one
   * is a fault, and does not pass.
   */
  readonly by?: 'principal' | 'client-ip' | ((exchange: Exchange) => string) | undefined;
  /** What `reset` empties, and the operator page shows: limits by name. Default none. */
  readonly limits?: Readonly<Record<string, ClientCounters>> | undefined;
  /** Where `cancel-job` finds jobs. Default nowhere. */
  readonly jobs?: CancellableJobs | undefined;
  /** How long a client may exceed its quotas. Default `1h`, at most `7d`. */
  readonly allowance?: Duration | undefined;
  /** How long a change by another process takes to be seen, at the most. Default `500ms`, `10ms` to `60s`. */
  readonly maxAge?: Duration | undefined;
  /**
   * What happens to requests while the store cannot be read. `refuse`, the default: 503 `controls-unavailable`. `last-known`:
   * the measures that this process has last read or changed apply, and without any the request is refused. Later
   * suspensions by other processes are then not seen.
   */
  readonly onStoreFailure?: 'refuse' | 'last-known' | undefined;
  /** The clock, in epoch milliseconds. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** A guard that applies what operators have decided, and their actions. */
export interface OperatorControls extends Guard {
  /** The actions that this service can do. */
  readonly actions: readonly ActionName[];
  /** The counters of clients, by name. */
  readonly limits: Readonly<Record<string, ClientCounters>>;
  /** The latest actions in this process, the newest first. At most 50. */
  recent(): readonly OperatorRecord[];
  /**
   * Does an action for the operator of `exchange`, its principal. Never rejects for a store that fails: the result says so.
   * @throws TypeError without a principal, and for an action that this service cannot do
   */
  act(exchange: Exchange, action: OperatorAction): Promise<ActedRecord>;
  /** The measures that apply now. Throws or rejects if the store cannot be read. */
  measures(): readonly Measure[] | Promise<readonly Measure[]>;
  /** The client of an exchange. Undefined if it has none. */
  clientOf(exchange: Exchange): string | undefined;
}

const FACTORY = 'operatorControls';
const OPTIONS: OptionNames<OperatorControlsOptions> = {
  store: true,
  sink: true,
  by: true,
  limits: true,
  jobs: true,
  allowance: true,
  maxAge: true,
  onStoreFailure: true,
  now: true,
};
const SUSPENDED = refuse(problem('client-suspended'));
const UNAVAILABLE = refuse(problem('controls-unavailable'), [['Retry-After', '1']]);
const WEEK = 604_800_000;

/**
 * Applies what operators have decided about clients. A suspended client is refused with 403 `client-suspended`. One that may
 * exceed its quotas is charged by every `limit` that follows, but not refused by its own windows, days and GPU time; slots and
 * what is counted for other clients too still refuse it. Put it after `authenticate` and before `limit`.
 *
 * ```ts
 * const controls = operatorControls({ store: memoryOperatorStore({ file: 'operator.json' }), sink: (record) => logger.info(record, 'operator') })
 * app.post('/generate', guard(authenticate(...), controls, limit(...)), handler)
 * ```
 * @throws OptionError
 */
export function operatorControls(options: OperatorControlsOptions): OperatorControls {
  checkOptionNames(FACTORY, options, OPTIONS);
  const { store, sink, by = 'principal', limits = {}, jobs, onStoreFailure = 'refuse' } = options;
  checkVerbs('store', store, ['list', 'add', 'remove'], 'must be a store such as memoryOperatorStore()');
  if (typeof sink !== 'function') throw badOption(FACTORY, 'sink', 'must be a function', sink);
  if (typeof by !== 'function' && by !== 'principal' && by !== 'client-ip') {
    throw badOption(FACTORY, 'by', "must be 'principal', 'client-ip' or a function that returns a client", by);
  }
  if (typeof limits !== 'object' || limits === null) {
    throw badOption(FACTORY, 'limits', 'must be an object of limits by name', limits);
  }
  for (const [name, counters] of Object.entries(limits)) {
    checkVerbs(`limits.${name}`, counters, ['peek', 'reset'], 'must be a limit(...) guard, or have peek and reset');
  }
  if (jobs !== undefined) checkVerbs('jobs', jobs, ['cancel'], 'must be a job store such as memoryJobStore()');
  oneOf(FACTORY, 'onStoreFailure', onStoreFailure, ['refuse', 'last-known']);
  const now = clock(FACTORY, options.now);
  const view = new MeasureView({
    store,
    maxAge: milliseconds(FACTORY, 'maxAge', options.maxAge ?? '500ms', 60_000, 10),
    usesLastKnown: onStoreFailure === 'last-known',
    now,
  });
  const allowance = milliseconds(FACTORY, 'allowance', options.allowance ?? '1h', WEEK, 1000);
  const runner = new ActionRunner({ store, view, limits, jobs, allowance, sink, now });

  function clientOf(exchange: Exchange): string | undefined {
    if (by === 'principal') return exchange.principal?.id;
    if (by === 'client-ip') return exchange.clientIp?.key;
    return by(exchange);
  }

  function decide(exchange: Exchange, client: string, { suspended, exceeding }: Measures): Reply | undefined {
    const at = now();
    if (suspended.size > 0 && applies(suspended, client, at)) return SUSPENDED;
    if (exceeding.size > 0 && applies(exceeding, client, at)) exchange.exceedsQuotas = true;
    return undefined;
  }

  function unavailable(exchange: Exchange, error: unknown): Reply {
    exchange.fault(error);
    return UNAVAILABLE;
  }

  const guard = function operatorControls(exchange: Exchange): ReturnType<Guard> {
    checkExchange(FACTORY, exchange);
    const client = clientOf(exchange);
    ignoreRejection(client);
    if (typeof client !== 'string' || client === '') throw new Error(NO_CLIENT);
    let measures: Measures | Promise<Measures>;
    try {
      measures = view.current();
    } catch (error) {
      return unavailable(exchange, error);
    }
    if (!isThenable(measures)) return decide(exchange, client, measures);
    return measures.then(
      (late) => decide(exchange, client, late),
      (error: unknown) => unavailable(exchange, error),
    );
  };
  const controls: OperatorControls = Object.assign(guard, {
    actions: runner.actions,
    limits,
    recent: () => runner.recent,
    act: (exchange: Exchange, action: OperatorAction) => runner.act(exchange, action),
    measures: () => runner.measures(),
    clientOf,
  });
  return inOrder(controls, {
    name: FACTORY,
    after:
      by === 'client-ip'
        ? { clientIp: 'it knows clients by their address' }
        : { authenticate: 'it knows clients by their principal' },
  });
}

function checkVerbs(option: string, value: unknown, verbs: readonly string[], rule: string): void {
  // A limit is a function.
  const members = Object(value) as Readonly<Record<string, unknown>>;
  if (verbs.every((verb) => typeof members[verb] === 'function')) return;
  throw badOption(FACTORY, option, rule, value);
}

const NO_CLIENT =
  'gatewarden: operatorControls finds no client of this request; put authenticate(...) before it, without "optional", or set "by"';
