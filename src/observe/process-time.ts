import { checkExchange } from '../core/check-exchange.js';
import type { Guard } from '../core/guard.js';
import { named } from '../core/guard-name.js';
import { boolean, checkOptionNames, type OptionNames } from '../core/option.js';

/** The options of `processTime`. */
export interface ProcessTimeOptions {
  /** Whether to send `Server-Timing` too, which the developer tools of browsers show. Default false. */
  readonly serverTiming?: boolean | undefined;
}

const OPTIONS: OptionNames<ProcessTimeOptions> = { serverTiming: true };

/**
 * Sets `X-Process-Time` to the time from this guard to the head of the response, in seconds, such as `0.012345`.
 * Refusals and errors have the header too. Put it first.
 *
 * ```ts
 * guard(processTime({ serverTiming: true }))
 * ```
 * @throws OptionError
 */
export function processTime(options: ProcessTimeOptions = {}): Guard {
  checkOptionNames('processTime', options, OPTIONS);
  const { serverTiming = false } = options;
  boolean('processTime', 'serverTiming', serverTiming);
  return named('processTime', (exchange) => {
    checkExchange('processTime', exchange);
    const start = performance.now();
    exchange.onHead(() => {
      const elapsed = performance.now() - start;
      exchange.set('X-Process-Time', (elapsed / 1000).toFixed(6));
      if (serverTiming) exchange.append('Server-Timing', `app;dur=${elapsed.toFixed(3)}`);
    });
    return undefined;
  });
}
