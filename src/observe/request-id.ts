import { randomUUID } from 'node:crypto';
import type { Guard } from '../core/guard.js';
import { badOption, checkOptionNames } from '../core/option.js';
import { ignoreRejection } from '../core/thenable.js';

/** What `requestId` takes. */
export interface RequestIdOptions {
  /** Makes an id for a request that brings none: 1 to 128 of `A-Za-z0-9._=-`. Default a random UUID. */
  readonly generate?: () => string;
}

const FORM = /^[A-Za-z0-9._=-]{1,128}$/;

/**
 * Gives every exchange an id, in `exchange.requestId` and in the response's `X-Request-ID`. The caller's own
 * `X-Request-ID` is kept where it comes once and is 1 to 128 of `A-Za-z0-9._=-`; anything else is replaced.
 * @throws OptionError
 */
export function requestId(options: RequestIdOptions = {}): Guard {
  checkOptionNames('requestId', options, ['generate']);
  const { generate = randomUUID } = options;
  if (typeof generate !== 'function') throw badOption('requestId', 'generate', 'must be a function', generate);

  function own(): string {
    const id = generate();
    if (typeof id === 'string' && FORM.test(id)) return id;
    ignoreRejection(id);
    throw new TypeError('gatewarden: "generate" of requestId must give 1 to 128 of A-Za-z0-9._=-');
  }

  return function requestId(exchange) {
    const lines = exchange.request.fieldLines('x-request-id');
    const given = lines[0];
    const id = lines.length === 1 && given !== undefined && FORM.test(given) ? given : own();
    exchange.requestId = id;
    exchange.set('X-Request-ID', id);
    return undefined;
  };
}
