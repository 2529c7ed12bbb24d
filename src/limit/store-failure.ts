import type { Exchange } from '../core/exchange.js';
import { badOption } from '../core/option.js';
import { problem } from '../core/problem.js';
import { type Reply, refuse } from '../core/reply.js';
import type { LimitStore } from './store.js';

const STORE_VERBS = ['admit', 'settle', 'peek', 'reset'] as const;
const RETRY_SECONDS = '5';
const STORE_UNAVAILABLE = refuse(problem('store-unavailable'), [['Retry-After', RETRY_SECONDS]]);

export function checkStore(factory: string, store: LimitStore): void {
  if (!STORE_VERBS.every((verb) => typeof store?.[verb] === 'function'))
    throw badOption(factory, 'store', 'must be a store such as memoryStore()', store);
}

/** What answers a request that a store could not decide about. */
export function storeFailure(exchange: Exchange, error: unknown): Reply {
  // An outage is told once, by the store; everything else is a fault of this request.
  const told = error instanceof Error && 'code' in error && error.code === 'GATEWARDEN_STORE_UNAVAILABLE';
  if (!told) exchange.fault(error);
  return STORE_UNAVAILABLE;
}
