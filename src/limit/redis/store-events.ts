import { isThenable } from '../../core/thenable.js';
import type { RedisStoreEvent } from './redis-store-options.js';

/** Calls `onEvent`. A fault of the callback is printed, and decides about no request. */
export function eventReporter(
  onEvent: ((event: RedisStoreEvent) => void) | undefined,
): (event: RedisStoreEvent) => void {
  const failed = (error: unknown) => console.error('gatewarden: the onEvent callback of redisStore threw:', error);
  return (event) => {
    try {
      const returned: unknown = onEvent?.(event);
      if (isThenable(returned)) Promise.resolve(returned).catch(failed);
    } catch (error) {
      failed(error);
    }
  };
}
