import { checkExchange } from './check-exchange.js';
import type { FaultReporter } from './exchange.js';
import type { Guard } from './guard.js';
import { named } from './guard-name.js';
import { OptionError, shown } from './option.js';

/**
 * Sends faults to `report` instead of standard error. Put it first.
 *
 * ```ts
 * guard(reportFaults((error, exchange) => logger.error({ error, id: exchange.requestId })))
 * ```
 * @throws OptionError if `report` is not a function
 */
export function reportFaults(report: FaultReporter): Guard {
  if (typeof report !== 'function') {
    throw new OptionError(
      `gatewarden: reportFaults takes a function of the error and the exchange, got ${shown(report)}`,
    );
  }
  return named('reportFaults', (exchange) => {
    checkExchange('reportFaults', exchange);
    exchange.faultReporter = report;
    return undefined;
  });
}
