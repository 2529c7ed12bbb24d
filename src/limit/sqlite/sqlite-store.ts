import { type Duration, milliseconds } from '../../core/duration.js';
import {
  badOption,
  callback,
  checkOptionNames,
  clock,
  type OptionNames,
  positiveInteger,
  text,
} from '../../core/option.js';
import { CounterRows } from './counter-rows.js';
import { isSqliteError, type SqliteDatabase } from './database.js';
import { DurableLog } from './durable-log.js';
import { openFile, prepareTables } from './schema.js';
import { SqliteLimitStore, type SqliteStore } from './sqlite-limit-store.js';
import { type SqliteStoreEvent, StoreHealth } from './store-health.js';
import { Transactions } from './transactions.js';

/** Options of `sqliteStore`. */
export interface SqliteStoreOptions {
  /**
   * The file that the processes share, on a disk of their machine. It is made if it is not there. Beside it, SQLite keeps a
   * `-wal` and a `-shm` file. Either `path` or `database` is required.
   */
  readonly path?: string | undefined;
  /**
   * An open database instead, such as a `DatabaseSync`. The store makes two tables in it whose names begin with `gatewarden_`.
   * It neither changes its settings nor closes it: set `journal_mode = WAL`, and no `busy_timeout`, since that blocks the
   * event loop.
   */
  readonly database?: SqliteDatabase | undefined;
  /** How long an admission waits while another process has the lock, at most one minute. Default `'250ms'`. */
  readonly timeout?: Duration | undefined;
  /**
   * The most counters that the file holds, one for each policy and key. Default 1,000,000, at most 100,000,000. When more
   * keys are live, those that have used least of their limit are forgotten first, and never one that has used half of it. If
   * none may be forgotten, requests with new keys are refused with 503.
   */
  readonly maxEntries?: number | undefined;
  /** Called at every change of state. Default: a process warning if the file cannot be used. */
  readonly onEvent?: ((event: SqliteStoreEvent) => void) | undefined;
  /** Returns the time in epoch milliseconds, for tests. Default: the system's time of day. */
  readonly now?: (() => number) | undefined;
}

const OPTIONS: OptionNames<SqliteStoreOptions> = {
  path: true,
  database: true,
  timeout: true,
  maxEntries: true,
  onEvent: true,
  now: true,
};

/** The last millisecond that a `Date` can hold. */
const LATEST = 8.64e15;

/**
 * Makes a limit store in a SQLite file, for several processes of one machine. It decides as `memoryStore` does, by the
 * system's time of day, each admission in one transaction that is written before the answer. What was answered survives the
 * death of every process, and a power cut takes the last second at most. It needs `node:sqlite`, which Node has from 22.13
 * on, or an open `database`. It has no queues: see `redisStore`.
 *
 * ```ts
 * const store = sqliteStore({ path: '/var/lib/service/limits.db' })
 * ```
 * @throws OptionError also for a file of another program, a damaged one, and one of a newer release
 */
export function sqliteStore(options: SqliteStoreOptions): SqliteStore {
  checkOptionNames('sqliteStore', options, OPTIONS);
  const { path, database } = options;
  const timeout = milliseconds('sqliteStore', 'timeout', options.timeout ?? '250ms', 60_000);
  const maxEntries = positiveInteger('sqliteStore', 'maxEntries', options.maxEntries ?? 1_000_000, 100_000_000);
  const onEvent = callback('sqliteStore', 'onEvent', options.onEvent);
  const now = wholeMilliseconds(clock('sqliteStore', options.now));
  if (database !== undefined && path !== undefined) {
    throw badOption('sqliteStore', 'path', 'must not be set beside "database"', path);
  }
  const own = database === undefined ? openFile(text('sqliteStore', 'path', path)) : undefined;
  const used = own?.database ?? checkDatabase(database as SqliteDatabase);
  const file = path ?? 'of "database"';
  const health = new StoreHealth(file, onEvent);
  const log =
    own?.place === undefined ? undefined : new DurableLog(own.place, (error) => health.notSynchronized(error));
  const transactions = new Transactions(
    used,
    file,
    () => log?.committed(),
    (error) => health.is(error),
  );
  // Reported after the transaction that it is found in.
  const rows = new CounterRows(used, file, maxEntries, (error) => queueMicrotask(() => health.full(error)));
  let isClosed = false;
  const close = () => {
    if (isClosed) return;
    isClosed = true;
    transactions.close();
    log?.close();
    own?.database.close();
  };
  return new SqliteLimitStore({ rows, transactions, file, now, timeout, close });
}

/** Makes the tables in a database that was passed in. */
function checkDatabase(database: SqliteDatabase): SqliteDatabase {
  if (typeof database?.prepare !== 'function' || typeof database.exec !== 'function') {
    throw badOption('sqliteStore', 'database', 'must be an open database, such as a DatabaseSync', database);
  }
  try {
    prepareTables(database, 'database', database, false);
    return database;
  } catch (error) {
    if (!isSqliteError(error)) throw error;
    throw badOption(
      'sqliteStore',
      'database',
      `must be one that can be written (${(error as Error).message})`,
      database,
    );
  }
}

function wholeMilliseconds(now: () => number): () => number {
  return () => {
    const time = now();
    // Written so that NaN throws. It would otherwise empty every window.
    if (time >= 0 && time <= LATEST) return Math.floor(time);
    throw new RangeError(`gatewarden: sqliteStore "now" must return epoch milliseconds, got ${time}`);
  };
}
