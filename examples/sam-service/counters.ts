import { setTimeout as sleep } from 'node:timers/promises';
import { type LimitStore, type Logger, memoryStore } from 'gatewarden';
import { type RedisStoreEvent, redisStore } from 'gatewarden/redis';
import { Redis } from 'ioredis';

/** How long what has been sent to Redis may take before the connection is cut. */
const CLOSE_WITHIN_MS = 1000;

export interface Counters {
  readonly store: LimitStore;
  close(): Promise<void>;
}

/** Where requests are counted: in the Redis of `url`, together with other processes, or in this process alone. */
export function openCounters(url: string | undefined, logger: Logger): Counters {
  if (url === undefined) return { store: memoryStore(), close: async () => undefined };
  const client = new Redis(url);
  // The store tells of it, once and not at every attempt to connect; without a listener ioredis prints each.
  client.on('error', () => undefined);
  const store = redisStore({ client, prefix: 'sam-service:', onEvent: (event) => tell(event, logger) });
  return {
    store,
    async close() {
      store.close();
      await Promise.race([client.quit().catch(() => undefined), sleep(CLOSE_WITHIN_MS, undefined, { ref: false })]);
      client.disconnect();
    },
  };
}

function tell(event: RedisStoreEvent, logger: Logger): void {
  switch (event.kind) {
    case 'unavailable':
      logger.error({ reason: reasonOf(event.error) }, 'Redis is away: requests that count are refused');
      break;
    case 'available':
      logger.info({}, 'Redis is back');
      break;
    case 'eviction-risk':
      logger.warn({ policy: event.maxmemoryPolicy }, 'Redis may evict counters: set maxmemory-policy noeviction');
      break;
    case 'correction-lost':
      logger.warn({ reason: reasonOf(event.error) }, 'A charge in Redis could not be corrected, and stays as it was');
  }
}

/** Its message alone: an error of ioredis holds the command as well, which may be AUTH and its password. */
function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown';
}
