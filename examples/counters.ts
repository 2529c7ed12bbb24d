import { setTimeout as sleep } from 'node:timers/promises';
import { type LimitStore, type Logger, OptionError } from 'gatewarden';
import { type Setting, secret } from 'gatewarden/env';
import { type RedisStoreEvent, redisStore } from 'gatewarden/redis';
import { Redis } from 'ioredis';

/** How long commands in progress may take before the connection is closed. */
const CLOSE_WITHIN_MS = 1000;

/** Where the limits of a service count. */
export interface Counters {
  /** The Redis that all limits share. If undefined, each limit counts in a memory of its own, which no other can fill. */
  readonly store: LimitStore | undefined;
  /** The connection to that Redis, for other stores of the service. */
  readonly client: Redis | undefined;
  close(): Promise<void>;
}

/** Counts in the Redis at `url`, shared with other processes, or else in the memory of this process. */
export function openCounters(url: string | undefined, prefix: string, logger: Logger): Counters {
  if (url === undefined) return { store: undefined, client: undefined, close: async () => undefined };
  const client = new Redis(url);
  // The store reports an outage once. Without a listener, ioredis prints every failed attempt to connect.
  client.on('error', () => undefined);
  const store = redisStore({ client, prefix, onEvent: (event) => log(event, logger) });
  return {
    store,
    client,
    async close() {
      store.close();
      await Promise.race([client.quit().catch(() => undefined), sleep(CLOSE_WITHIN_MS, undefined, { ref: false })]);
      client.disconnect();
    },
  };
}

/** The variable `REDIS_URL`. It is read as a secret, because `url` accepts no password. Unlike `checked`, an error states the rule. */
export function redisUrl(): Setting<string | undefined> {
  return {
    ...secret({ optional: true }),
    read(name, value) {
      if (URL.canParse(value) && ['redis:', 'rediss:'].includes(new URL(value).protocol)) return value;
      throw new OptionError(
        `gatewarden: the environment "${name}" must be a URL that begins with redis:// or rediss://`,
      );
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
