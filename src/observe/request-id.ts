import { checkExchange } from '../core/check-exchange.js';
import type { Guard } from '../core/guard.js';
import { named } from '../core/guard-name.js';
import { callback, checkOptionNames, type OptionNames } from '../core/option.js';
import { ignoreRejection } from '../core/thenable.js';
import { randomUuids } from './random-uuid.js';

/** The options of `requestId`. */
export interface RequestIdOptions {
  /** Returns an id for a request without one: 1 to 128 characters of `A-Za-z0-9._=-`. Default a random UUID. */
  readonly generate?: (() => string) | undefined;
}

const OPTIONS: OptionNames<RequestIdOptions> = { generate: true };
const FORM = /^[A-Za-z0-9._=-]{1,128}$/;

/**
 * Sets an id for every exchange, in `exchange.requestId` and in the response header `X-Request-ID`. It keeps the
 * request's `X-Request-ID` if there is exactly one, with 1 to 128 characters of `A-Za-z0-9._=-`. Otherwise it generates
 * an id.
 *
 * ```ts
 * guard(requestId(), accessLog({ logger }))
 * ```
 * @throws OptionError
 */
export function requestId(options: RequestIdOptions = {}): Guard {
  checkOptionNames('requestId', options, OPTIONS);
  const generate = callback('requestId', 'generate', options.generate);
  const newId = generate === undefined ? randomUuids() : () => checkedId(generate());

  return named('requestId', (exchange) => {
    checkExchange('requestId', exchange);
    const lines = exchange.request.fieldLines('x-request-id');
    const [received] = lines;
    const id = lines.length === 1 && received !== undefined && FORM.test(received) ? received : newId();
    exchange.requestId = id;
    exchange.set('X-Request-ID', id);
    return undefined;
  });
}

function checkedId(id: unknown): string {
  if (typeof id === 'string' && FORM.test(id)) return id;
  ignoreRejection(id);
  throw new TypeError('gatewarden: requestId "generate" must return 1 to 128 characters of A-Za-z0-9._=-');
}
