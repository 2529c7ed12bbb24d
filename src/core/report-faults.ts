import type { FaultReporter } from './exchange.js';
import type { Guard } from './guard.js';
import { OptionError } from './option.js';

/**
 * Sends faults to `report` instead of standard error. Put it first.
 * @throws OptionError when `report` is no function
 */
export function reportFaults(report: FaultReporter): Guard {
  if (typeof report !== 'function') throw new OptionError('gatewarden: reportFaults takes a function');
  return function reportFaults(exchange) {
    exchange.faultReporter = report;
    return undefined;
  };
}
