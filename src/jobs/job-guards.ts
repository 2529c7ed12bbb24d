import { checkExchange } from '../core/check-exchange.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { inOrder } from '../core/guard-order.js';
import { checkOptionNames, type OptionNames, text } from '../core/option.js';
import { problem } from '../core/problem.js';
import { jsonReply, type Reply, refuse } from '../core/reply.js';
import { eventsReply } from './job-events.js';
import { isJobId, mayAccess } from './job-owner.js';
import { resultReply } from './job-result.js';
import { statusOf } from './job-status.js';
import type { JobRecord, JobStore } from './job-store.js';
import type { ResultFiles } from './result-files.js';

/** Options of the guards that serve one job. */
export interface JobRouteOptions {
  /** The parameter of the route that holds the id of the job. Default `id`. */
  readonly param?: string | undefined;
}

/** Options of `result`. */
export interface JobResultOptions extends JobRouteOptions {
  /** The parameter of the route that holds the name of a file. Default none: the query `?file=` may name one. */
  readonly file?: string | undefined;
}

/**
 * Guards for the routes of jobs. Each serves only the owner of the job, and a caller with `adminScope`. For any other caller,
 * the job is missing: 404 `job-not-found`. Put them behind `authenticate`. A caller without a principal must send the
 * `Job-Token` of its job.
 */
export interface JobGuards {
  /** Answers with the status of a job. */
  status(options?: JobRouteOptions): Guard;
  /** Answers with the events of a job, as they happen (`text/event-stream`). */
  events(options?: JobRouteOptions): Guard;
  /** Answers with the result: JSON, or a file, or the part of it that `Range` asks for. 409 `job-not-finished` before its end. */
  result(options?: JobResultOptions): Guard;
  /** Cancels a job, and answers with its status. A job that has ended stays as it is. */
  cancel(options?: JobRouteOptions): Guard;
  /** Lets the owner of a job pass, to a handler of your own. */
  requireOwner(options?: JobRouteOptions): Guard;
  /** A job, if the caller owns it or has `adminScope`. */
  get(exchange: Exchange, id: string): Promise<JobRecord | undefined>;
}

/** What the guards of one queue have in common. */
export interface JobGuardSettings {
  readonly store: JobStore;
  readonly path: string;
  readonly results: ResultFiles | undefined;
  readonly adminScope: string | undefined;
  readonly maxStreams: number;
  readonly heartbeat: number;
}

type Serve = (exchange: Exchange, record: JobRecord) => Reply | undefined | Promise<Reply | undefined>;

const ROUTE: OptionNames<JobRouteOptions> = { param: true };
const RESULT: OptionNames<JobResultOptions> = { param: true, file: true };
const NOT_FOUND = refuse(problem('job-not-found'));
const UNAVAILABLE = refuse(problem('jobs-unavailable'), [['Retry-After', '5']]);
const TOO_MANY_STREAMS = refuse(problem('job-streams-exceeded'), [['Retry-After', '5']]);

export function jobGuards(settings: JobGuardSettings): JobGuards {
  const { store, path, results, adminScope, maxStreams } = settings;
  /** Open streams of events, by job. */
  const streams = new Map<string, number>();

  /** The same work for a job of another owner and for none. Undefined for both. */
  async function owned(exchange: Exchange, id: string | undefined): Promise<JobRecord | undefined> {
    const record = isJobId(id) ? await store.read(id) : undefined;
    return mayAccess(exchange, record, adminScope) ? record : undefined;
  }

  function guardFor(name: string, options: JobRouteOptions, serve: Serve): Guard {
    const param = text(name, 'param', options.param ?? 'id');
    const guard = {
      async [name](exchange: Exchange): Promise<Reply | undefined> {
        checkExchange(name, exchange);
        const { request } = exchange;
        if (request.param === undefined)
          throw new TypeError(`gatewarden: ${name} needs an adapter that knows the route`);
        try {
          const record = await owned(exchange, request.param(param));
          return record === undefined ? NOT_FOUND : await serve(exchange, record);
        } catch (error) {
          exchange.fault(error);
          return UNAVAILABLE;
        }
      },
    }[name] as Guard;
    return inOrder(guard, { name, after: { authenticate: 'a job belongs to a principal' } });
  }

  function follow(exchange: Exchange, record: JobRecord): Reply {
    const { id } = record;
    const open = streams.get(id) ?? 0;
    if (open >= maxStreams) return TOO_MANY_STREAMS;
    streams.set(id, open + 1);
    let isOpen = true;
    return eventsReply(exchange, record, settings, () => {
      if (!isOpen) return;
      isOpen = false;
      const others = (streams.get(id) ?? 1) - 1;
      if (others > 0) streams.set(id, others);
      else streams.delete(id);
    });
  }

  return {
    get: owned,
    status(options = {}) {
      checkOptionNames('status', options, ROUTE);
      return guardFor('status', options, (_, record) => jsonReply(200, statusOf(path, record)));
    },
    events(options = {}) {
      checkOptionNames('events', options, ROUTE);
      return guardFor('events', options, follow);
    },
    result(options = {}) {
      checkOptionNames('result', options, RESULT);
      const file = options.file === undefined ? undefined : text('result', 'file', options.file);
      return guardFor('result', options, (exchange, record) => {
        const { request } = exchange;
        const name = file === undefined ? queryOf(request.url).get('file') : (request.param?.(file) ?? '');
        return resultReply(exchange, record, results, name ?? undefined);
      });
    },
    cancel(options = {}) {
      checkOptionNames('cancel', options, ROUTE);
      return guardFor('cancel', options, async (_, { id }) => {
        const record = await store.cancel(id);
        return record === undefined ? NOT_FOUND : jsonReply(200, statusOf(path, record));
      });
    },
    requireOwner(options = {}) {
      checkOptionNames('requireOwner', options, ROUTE);
      return guardFor('requireOwner', options, () => undefined);
    },
  };
}

function queryOf(url: string): URLSearchParams {
  const start = url.indexOf('?');
  return new URLSearchParams(start === -1 ? '' : url.slice(start + 1));
}
