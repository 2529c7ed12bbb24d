import { isDay } from '../../core/calendar-day.js';
import { checkExchange } from '../../core/check-exchange.js';
import type { Guard } from '../../core/guard.js';
import { inOrder } from '../../core/guard-order.js';
import type { Ledger, UsageOrder, UsagePage, UsageQuery } from '../../core/ledger.js';
import { checkOptionNames, type OptionNames } from '../../core/option.js';
import { problem } from '../../core/problem.js';
import { jsonReply, type Reply, refuse } from '../../core/reply.js';
import { isThenable } from '../../core/thenable.js';
import { checkLedger } from './checked-ledger.js';

/** Options of `usageReport`. */
export interface UsageReportOptions {
  /** The ledger of `meterUsage`. */
  readonly ledger: Ledger;
}

const OPTIONS: OptionNames<UsageReportOptions> = { ledger: true };
const ORDERS: readonly UsageOrder[] = ['client', 'requests', 'errors', 'bytesIn', 'bytesOut', 'gpuTime', 'jobsStarted'];
const MAX_OFFSET = 1e9;
const MAX_LIMIT = 1000;

/**
 * Answers with the usage of all clients as JSON: `{ today, day, offset, limit, total, rows }`. Lengths of time are in
 * milliseconds. The query chooses a part of it: `day` (such as `2026-11-22`; without it, all days together), `client`,
 * `sort` (a figure, or `client`; default `gpuTime`), `offset` and `limit` (at most 1000; default 100). For anything else the
 * reply is 400 `query-malformed`.
 *
 * Clients are shown by id, never by key. All the same, put it behind `authenticate` and `requireScope`.
 *
 * ```ts
 * app.get('/admin/usage', guard(authenticate(apiKeys({ keys })), requireScope('admin'), usageReport({ ledger })))
 * ```
 * @throws OptionError
 */
export function usageReport(options: UsageReportOptions): Guard {
  checkOptionNames('usageReport', options, OPTIONS);
  const ledger = checkLedger('usageReport', options.ledger);
  const report: Guard = function usageReport(exchange) {
    checkExchange('usageReport', exchange);
    const query = queryOf(exchange.request.url);
    if (typeof query === 'string') return refuse(problem('query-malformed', { reason: query }));
    const answer = ({ rows, total }: UsagePage): Reply => {
      const { day = null, offset, limit } = query;
      return jsonReply(200, { today: ledger.today(), day, offset, limit, total, rows });
    };
    const page = ledger.read(query);
    return isThenable(page) ? Promise.resolve(page).then(answer) : answer(page);
  };
  const why = 'it answers, so that what follows it protects nothing';
  return inOrder(report, { name: 'usageReport', after: { authenticate: why, requireScope: why } });
}

/** Reads the query, or says what is wrong with it. */
function queryOf(url: string): (UsageQuery & { readonly offset: number; readonly limit: number }) | string {
  const at = url.indexOf('?');
  const parameters = new URLSearchParams(at < 0 ? '' : url.slice(at + 1));
  const given = new Map(parameters);
  if (given.size < [...parameters].length) return 'a parameter is there twice';
  let day: string | undefined;
  let client: string | undefined;
  let sort: UsageOrder | undefined;
  let offset = 0;
  let limit = 100;
  for (const [name, value] of given) {
    switch (name) {
      case 'day':
        if (!isDay(value)) return 'day must be a date such as 2026-11-22';
        day = value;
        break;
      case 'client':
        if (value === '') return 'client must be the id of a client';
        client = value;
        break;
      case 'sort':
        sort = ORDERS.find((order) => order === value);
        if (sort === undefined) return `sort must be one of ${ORDERS.join(', ')}`;
        break;
      case 'offset':
        offset = wholeNumber(value, MAX_OFFSET) ?? -1;
        if (offset < 0) return `offset must be a whole number from 0 to ${MAX_OFFSET}`;
        break;
      case 'limit':
        limit = wholeNumber(value, MAX_LIMIT) ?? 0;
        if (limit < 1) return `limit must be a whole number from 1 to ${MAX_LIMIT}`;
        break;
      default:
        return 'the parameters are day, client, sort, offset and limit';
    }
  }
  return { day, client, sort, offset, limit };
}

function wholeNumber(text: string, max: number): number | undefined {
  return /^\d{1,10}$/.test(text) && Number(text) <= max ? Number(text) : undefined;
}
