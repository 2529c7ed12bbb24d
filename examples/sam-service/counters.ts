import { setTimeout as sleep } from 'node:timers/promises';
import { type LimitStore, type Logger, memoryStore } from 'gatewarden';
import { type RedisStoreEvent, redisStore } from 'gatewarden/redis';
import { Redis } from 'ioredis';

/** How long commands in progress may take before the connection is closed. */
const CLOSE_WITHIN_MS = 1000;

export interface Counters {
  readonly store: LimitStore;
  close(): Promise<void>;
}

/** The store that counts requests: the Redis at `url`, shared with other processes, or the memory of this process. */
export function openCounters(url: string | undefined, logger: Logger): Counters {
  if (url === undefined) return { store: memoryStore(), close: async () => undefined };
  const client = new Redis(url);
  // The store reports an outage once. Without a listener, ioredis prints every failed attempt to connect.
  client.on('error', () => undefined);
  const store = redisStore({ client, prefix: 'sam-service:', onEvent: (event) => log(event, logger) });
  return {
    store,
    async close() {
      store.close();
      await Promise.race([client.quit().catch(() => undefined), sleep(CLOSE_WITHIN_MS, undefined, { ref: false })]);
      client.disconnect();
    },
  };
}

function log(event: RedisStoreEvent, logger: Logger): void {
  switch (event.kind) {
    case 'unavailable':
      logger.error({ reason: reasonOf(event.error) }, 'Redis is unavailable: rate-limited requests are refused');
      break;
    case 'available':
      logger.info({}, 'Redis is available again');
      break;
    case 'eviction-risk':
      logger.warn({ policy: event.maxmemoryPolicy }, 'Redis may evict counters: set maxmemory-policy to noeviction');
      break;
    case 'correction-lost':
      logger.warn(
        { reason: reasonOf(event.error) },
        'A charge in Redis could not be corrected: the client stays charged',
      );
  }
}

/** Only the message: an error of ioredis also holds the command, which may be AUTH with a password. */
function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown';
}
