import { checkExchange } from '../core/check-exchange.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { named } from '../core/guard-name.js';
import type { Ledger } from '../core/ledger.js';
import { badOption, checkOptionNames, clock, type OptionNames, positiveInteger, text } from '../core/option.js';
import { problem } from '../core/problem.js';
import { jsonReply, type Reply, refuse } from '../core/reply.js';
import { actionReply } from './action-request.js';
import type { OperatorControls } from './operator-controls.js';
import { assetReply, toSlash } from './page-assets.js';
import { PageEvents } from './page-events.js';
import type { Health, ListedJobs, SlotCounters } from './page-snapshot.js';
import { PageState } from './page-state.js';
import { Traffic } from './traffic.js';

/** Options of `operatorPage`. */
export interface OperatorPageOptions {
  /**
   * Lets only operators pass, such as `sequence(authenticate(...), requireScope('admin'))`. It must set a principal, which the
   * audit log names. The page sends the operator's key as `Authorization: Bearer`.
   */
  readonly admin: Guard;
  /** Where the page is, without a slash at its end. Default `/admin/desk`. */
  readonly path?: string | undefined;
  /** The name of the service, which only operators see. Default none. */
  readonly name?: string | undefined;
  /** What operators can do. Default nothing: the page only shows. */
  readonly controls?: OperatorControls | undefined;
  /** Who has used what today. Default: what this process has seen since its start. */
  readonly ledger?: Ledger | undefined;
  /** Counters of slots to show, such as `limit` guards with `by: 'global'` that no route uses. Default none. */
  readonly slots?: readonly SlotCounters[] | undefined;
  /** The names of limits whose units are milliseconds, as those of `gpuTime` are. Default `['gpu-time']`, its own default. */
  readonly timeLimits?: readonly string[] | undefined;
  /** Jobs to show, such as the store of `jobs`. Default: what the workers of this process have run. */
  readonly jobs?: ListedJobs | undefined;
  /** What the service depends on, by name, such as its worker or Redis. Default nothing. */
  readonly health?: Readonly<Record<string, () => Health | Promise<Health>>> | undefined;
  /** The most pages that are open at once. Default 8. */
  readonly maxStreams?: number | undefined;
  /** The clock, in epoch milliseconds. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** A guard that serves the operator page. */
export interface OperatorPage extends Guard {
  /** A guard that lets the page see the exchanges of a service. Put it before every guard that may refuse, for all routes. */
  watch(): Guard;
  /** Ends the connections of all open pages, so that a server can stop. They find the next one by themselves. */
  close(): void;
}

const FACTORY = 'operatorPage';
const OPTIONS: OptionNames<OperatorPageOptions> = {
  admin: true,
  path: true,
  name: true,
  controls: true,
  ledger: true,
  slots: true,
  timeLimits: true,
  jobs: true,
  health: true,
  maxStreams: true,
  now: true,
};
const PATH = /^(?:\/[A-Za-z0-9._~-]+)+$/;
/** Of a file, or of an action. */
const NAME = /^(?:actions\/)?[a-z-]*(?:\.[a-z]+)?$/;
const INTERVAL = 1000;
const MAX_AGE = 300_000;
const PATIENCE = 5000;
const TOO_MANY = refuse(problem('operator-streams-exceeded'), [['Retry-After', '5']]);

/**
 * Serves the operator page and its actions at `path`, and lets every other request pass. The page itself is public and says
 * nothing about the service: it asks for the operator's key, and sends it with each request for data. Without that, nothing is
 * told and nothing is done.
 *
 * ```ts
 * const desk = operatorPage({ admin: sequence(authenticate(apiKeys({ keys })), requireScope('admin')), controls })
 * app.use(guard(desk.watch(), desk))
 * ```
 * @throws OptionError
 */
export function operatorPage(options: OperatorPageOptions): OperatorPage {
  checkOptionNames(FACTORY, options, OPTIONS);
  const {
    admin,
    path = '/admin/desk',
    controls,
    ledger,
    slots = [],
    timeLimits = ['gpu-time'],
    jobs,
    health = {},
  } = options;
  if (typeof admin !== 'function') {
    throw badOption(FACTORY, 'admin', 'must be a guard such as sequence(authenticate(...), requireScope(...))', admin);
  }
  if (typeof path !== 'string' || !PATH.test(path)) {
    throw badOption(FACTORY, 'path', "must be a path such as '/admin/desk', without a slash at its end", path);
  }
  check('controls', controls, (value) => typeof value.act === 'function', 'must be operatorControls({ ... })');
  check('ledger', ledger, (value) => typeof value.read === 'function', 'must be a ledger such as memoryLedger()');
  check('jobs', jobs, (value) => typeof value.list === 'function', 'must be a job store with the verb list');
  if (!Array.isArray(slots) || slots.some((one) => typeof one?.peek !== 'function')) {
    throw badOption(FACTORY, 'slots', "must be a list of limit(...) guards with by: 'global'", slots);
  }
  if (!Array.isArray(timeLimits) || timeLimits.some((one) => typeof one !== 'string')) {
    throw badOption(FACTORY, 'timeLimits', 'must be a list of names', timeLimits);
  }
  check('health', health, (value) => Object.values(value).every(isFunction), 'must be an object of functions by name');
  const now = clock(FACTORY, options.now);
  const traffic = new Traffic(now, controls?.clientOf ?? (({ principal }) => principal?.id));
  const state = new PageState({
    name: options.name === undefined ? undefined : text(FACTORY, 'name', options.name),
    traffic,
    controls,
    ledger,
    slots,
    timeLimits,
    jobs,
    health,
    now,
  });
  const events = new PageEvents({
    history: traffic.history,
    snapshot: (fault) => state.snapshot(fault),
    maxStreams: positiveInteger(FACTORY, 'maxStreams', options.maxStreams ?? 8, 1000),
    interval: INTERVAL,
    maxAge: MAX_AGE,
    patience: PATIENCE,
  });

  /** What a request asks for, below the path. Undefined for any other path, and for one that is written in another way. */
  function nameOf({ request }: Exchange): string | undefined {
    const { url } = request;
    const end = url.search(/[?#]/);
    const asked = end === -1 ? url : url.slice(0, end);
    if (asked === path) return '..';
    const name = asked.startsWith(`${path}/`) ? asked.slice(path.length + 1) : undefined;
    // Hono removes `..`, so what begins like the page may be another route.
    return name !== undefined && NAME.test(name) ? name : undefined;
  }

  async function forOperators(exchange: Exchange, serve: () => Reply | Promise<Reply | undefined>) {
    const refusal = await admin(exchange);
    if (refusal !== undefined) return refusal;
    if (exchange.principal === undefined) throw new Error(NO_PRINCIPAL);
    // The client has left meanwhile.
    return exchange.outcome === undefined ? serve() : undefined;
  }

  function read(exchange: Exchange, name: string): ReturnType<Guard> {
    if (name === '..') return toSlash(path);
    if (name === 'events') {
      return forOperators(exchange, () => (events.isFull ? TOO_MANY : events.reply(exchange)));
    }
    if (name === 'state') {
      return forOperators(exchange, async () => {
        const snapshot = await state.snapshot((error) => exchange.fault(error));
        return jsonReply(200, { snapshot, buckets: traffic.history.since(0) });
      });
    }
    return assetReply(name, exchange.request);
  }

  const page = named('operatorPage', (exchange) => {
    checkExchange(FACTORY, exchange);
    const name = nameOf(exchange);
    if (name === undefined) return undefined;
    const { method } = exchange.request;
    if (method === 'GET' || method === 'HEAD') return read(exchange, name);
    if (method !== 'POST' || controls === undefined || !name.startsWith('actions/')) return undefined;
    return forOperators(exchange, async () => {
      const reply = await actionReply(exchange, controls, name.slice('actions/'.length));
      state.changed();
      return reply;
    });
  });
  return Object.assign(page, {
    close: () => events.close(),
    watch() {
      return named('watch', (exchange) => {
        checkExchange('watch', exchange);
        // Requests for the page itself do not count.
        if (nameOf(exchange) === undefined) traffic.watch(exchange);
        return undefined;
      });
    },
  });
}

function check<T extends object>(
  option: string,
  value: T | undefined,
  isOne: (value: T) => boolean,
  rule: string,
): void {
  if (value === undefined) return;
  // A guard is a function.
  const isObject = (typeof value === 'object' || typeof value === 'function') && value !== null;
  if (!isObject || !isOne(value)) throw badOption(FACTORY, option, rule, value);
}

function isFunction(value: unknown): boolean {
  return typeof value === 'function';
}

const NO_PRINCIPAL =
  'gatewarden: operatorPage "admin" has let a request pass without a principal; put authenticate(...) into it, without "optional"';
