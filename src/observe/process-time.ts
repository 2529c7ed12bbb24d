import type { Guard } from '../core/guard.js';
import { badOption, checkOptionNames } from '../core/option.js';

/** What `processTime` takes. */
export interface ProcessTimeOptions {
  /** Also says it as `Server-Timing`, which browsers' tools show. Default false. */
  readonly serverTiming?: boolean;
}

/**
 * Says in `X-Process-Time` how long the request took from here until the head of its response, in seconds such as
 * `0.012345`; of refusals and errors too. Put it first.
 * @throws OptionError
 */
export function processTime(options: ProcessTimeOptions = {}): Guard {
  checkOptionNames('processTime', options, ['serverTiming']);
  const { serverTiming = false } = options;
  if (typeof serverTiming !== 'boolean') {
    throw badOption('processTime', 'serverTiming', 'must be true or false', serverTiming);
  }
  return function processTime(exchange) {
    const start = performance.now();
    exchange.onHead(() => {
      const took = performance.now() - start;
      exchange.set('X-Process-Time', (took / 1000).toFixed(6));
      if (serverTiming) exchange.append('Server-Timing', `app;dur=${took.toFixed(3)}`);
    });
    return undefined;
  };
}
