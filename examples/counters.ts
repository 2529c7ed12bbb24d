import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type JournalEvent,
  type Ledger,
  type LimitStore,
  type Logger,
  memoryLedger,
  memoryStore,
  OptionError,
} from 'gatewarden';
import { type Setting, secret, text } from 'gatewarden/env';
import { type RedisStoreEvent, redisLedger, redisStore } from 'gatewarden/redis';
import { Redis } from 'ioredis';

/** How long commands in progress may take before the connection is closed. */
const CLOSE_WITHIN_MS = 1000;

/** Where the limits of a service count. */
export interface Counters {
  /** The Redis or the journal that all limits share. If undefined, each limit counts in a memory of its own. */
  readonly store: LimitStore | undefined;
  /** The connection to that Redis, for other stores of the service. */
  readonly client: Redis | undefined;
  close(): Promise<void>;
}

/**
 * Counts in the Redis at `url`, shared with other processes, or else in the memory of this process. What that counts outlives
 * the process if it has a `directory`.
 */
export function openCounters(
  url: string | undefined,
  prefix: string,
  logger: Logger,
  alsoOnEvent?: (event: RedisStoreEvent) => void,
  directory?: string,
): Counters {
  if (url === undefined) return openMemory(directory, logger);
  const client = new Redis(url);
  // The store reports an outage once. Without a listener, ioredis prints every failed attempt to connect.
  client.on('error', () => undefined);
  const onEvent = (event: RedisStoreEvent) => {
    log(event, logger);
    alsoOnEvent?.(event);
  };
  const store = redisStore({ client, prefix, onEvent });
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

/**
 * Keeps the account of who used what in the Redis of the counters, or else in the memory of this process. What that counts
 * outlives the process if it has a `directory`.
 */
export function openLedger(client: Redis | undefined, prefix: string, directory?: string): Ledger {
  return client === undefined
    ? memoryLedger({ file: fileIn(directory, 'usage.json') })
    : redisLedger({ client, prefix });
}

/** A file in a directory. Undefined if nothing is written. */
export function fileIn(directory: string | undefined, name: string): string | undefined {
  return directory === undefined || directory === IN_MEMORY ? undefined : join(directory, name);
}

/** The counters of this process, in a journal that the next process reads. */
function openMemory(directory: string | undefined, logger: Logger): Counters {
  if (directory === undefined || directory === IN_MEMORY) {
    return { store: undefined, client: undefined, close: async () => undefined };
  }
  const store = memoryStore({ journal: { directory, onEvent: (event) => logJournal(event, logger) } });
  return { store, client: undefined, close: async () => store.close() };
}

/** The value of `DATA_DIRECTORY` with which nothing is written. */
export const IN_MEMORY = ':memory:';

/** The variable `DATA_DIRECTORY`: where counts are kept, or `:memory:`. The program has a default of its own. */
export function dataDirectory(): Setting<string | undefined> {
  return text({ optional: true });
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

function logJournal(event: JournalEvent, logger: Logger): void {
  switch (event.kind) {
    case 'unavailable':
      logger.error({ reason: reasonOf(event.error) }, 'Counts cannot be written: rate-limited requests are refused');
      break;
    case 'available':
      logger.info({}, 'Counts are written again');
      break;
    case 'cut':
      logger.warn({ file: event.file, offset: event.offset }, 'The last counts of a crash were incomplete');
  }
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
