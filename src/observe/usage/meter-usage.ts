import { checkExchange } from '../../core/check-exchange.js';
import type { Exchange } from '../../core/exchange.js';
import type { Guard } from '../../core/guard.js';
import { inOrder } from '../../core/guard-order.js';
import type { Ledger, UsageChange } from '../../core/ledger.js';
import { checkOptionNames, type OptionNames } from '../../core/option.js';
import type { Outcome } from '../../core/outcome.js';
import { UsageAccount } from '../../core/usage-account.js';
import { checkLedger } from './checked-ledger.js';

/** Options of `meterUsage`. */
export interface MeterUsageOptions {
  /** Keeps the account: `memoryLedger()`, or `redisLedger({ client })` for several processes. */
  readonly ledger: Ledger;
}

const OPTIONS: OptionNames<MeterUsageOptions> = { ledger: true };

/**
 * Records what each client uses: requests, refusals by code, errors, bytes, jobs and their GPU time. A client is the id of a
 * principal, never a key. All callers without a principal share the row `anonymous`, so that a caller without credentials
 * cannot make rows. Put it before every guard that may refuse: an exchange that an earlier guard refuses is not counted.
 *
 * The GPU time of a job is what its worker reports, and is booked exactly once, even if this process dies. The guide on usage
 * says what is counted, and what can be lost.
 *
 * ```ts
 * guard(meterUsage({ ledger }), requestId(), authenticate(apiKeys({ keys })))
 * ```
 * @throws OptionError
 */
export function meterUsage(options: MeterUsageOptions): Guard {
  checkOptionNames('meterUsage', options, OPTIONS);
  const ledger = checkLedger('meterUsage', options.ledger);
  return inOrder(
    function meterUsage(exchange) {
      checkExchange('meterUsage', exchange);
      // A second one, such as that of a route, would count the exchange twice.
      if (exchange.usageAccount !== undefined) return undefined;
      const account = new UsageAccount(ledger, exchange);
      exchange.usageAccount = account;
      const written = exchange.request.bytesWritten;
      // Returned so that a rejected promise of the ledger is reported as a fault.
      exchange.onEnd((outcome) => ledger.add([changeOf(exchange, account.client, outcome, written)]));
      return undefined;
    },
    { name: 'meterUsage', once: 'it would count the request once all the same' },
  );
}

function changeOf(
  exchange: Exchange,
  client: string,
  outcome: Outcome,
  writtenBefore: number | undefined,
): UsageChange {
  return {
    client,
    requests: 1,
    refusal: outcome.kind === 'refused' ? (outcome.code ?? 'other') : undefined,
    errors: outcome.kind === 'completed' && outcome.status >= 500 ? 1 : 0,
    bytesIn: lengthOf(exchange.request.fieldLines('content-length')[0]),
    bytesOut: bytesOut(exchange, writtenBefore),
  };
}

/** What the connection has sent meanwhile. If it is shared with other exchanges, the length that the response names. */
function bytesOut(exchange: Exchange, before: number | undefined): number {
  const { bytesWritten } = exchange.request;
  if (before === undefined || bytesWritten === undefined) return lengthOf(exchange.get('Content-Length'));
  return Math.max(0, bytesWritten - before);
}

/** No body is longer. A client that names more would make the sums useless. */
const MAX_BYTES = 2 ** 40;

function lengthOf(text: string | undefined): number {
  // What is no number of bytes counts as none. A test of the text would take longer than the rest.
  const length = text === undefined ? 0 : Number(text);
  return Number.isSafeInteger(length) && length > 0 && length <= MAX_BYTES ? length : 0;
}
