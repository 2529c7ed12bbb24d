import type { Exchange } from '../core/exchange.js';
import { badOption } from '../core/option.js';
import { problem } from '../core/problem.js';
import { type Reply, refuse } from '../core/reply.js';
import type { LimitStore } from './store.js';

const STORE_METHODS = ['admit', 'settle', 'renew', 'release', 'peek', 'reset'] as const;
const RETRY_SECONDS = '5';
const STORE_UNAVAILABLE = refuse(problem('store-unavailable'), [['Retry-After', RETRY_SECONDS]]);

/** @throws OptionError for a value that is not a limit store */
export function checkStore(factory: string, store: LimitStore): LimitStore {
  if (!STORE_METHODS.every((method) => typeof store?.[method] === 'function')) {
    throw badOption(factory, 'store', 'must be a store such as memoryStore()', store);
  }
  return store;
}

/** The reply to a request that a store could not decide about. Reports the error, except for an outage. */
export function storeFailure(exchange: Exchange, error: unknown): Reply {
  // The store reports an outage itself, once. Every other error is a fault of this request.
  const isOutage = error instanceof Error && 'code' in error && error.code === 'GATEWARDEN_STORE_UNAVAILABLE';
  if (!isOutage) exchange.fault(error);
  return STORE_UNAVAILABLE;
}
