import { closeSync, openSync, realpathSync } from 'node:fs';
import { checkLastingFiles } from '../../core/lasting-files.js';
import { badOption } from '../../core/option.js';
import { isBusy, isDamaged, isSqliteError, loadSqlite, type OwnDatabase, type SqliteDatabase } from './database.js';

/** The form of the tables. A file with a higher one was written by a newer release. */
const VERSION = 1;

const TABLES = `
CREATE TABLE gatewarden_limits (
  key ANY NOT NULL,
  policy TEXT NOT NULL,
  expires INTEGER NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (key, policy)
) STRICT, WITHOUT ROWID;
CREATE TABLE gatewarden_limits_info (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  version INTEGER NOT NULL,
  entries INTEGER NOT NULL,
  token INTEGER NOT NULL
) STRICT;
INSERT INTO gatewarden_limits_info VALUES (1, ${VERSION}, 0, 0);
`;

/** How long a process waits at its start while another one makes the file, in milliseconds. */
const PATIENCE = 10_000;
/**
 * Pages in the log of changes from which on SQLite moves them into the file, and waits for the disk. More would make fewer
 * but longer pauses.
 */
const CHECKPOINT = 1000;
/** What the log of changes keeps of its size after a long read by another connection made it grow, in bytes. */
const LOG_SIZE = 8_388_608;

/** The path of a database in memory. */
const IN_MEMORY = ':memory:';

/** A file of the store's own. */
export interface OpenFile {
  readonly database: OwnDatabase;
  /** Where SQLite has it, behind links. Undefined for a database in memory. */
  readonly place: string | undefined;
}

/** Opens a file of the store's own, and makes it if it is not there. @throws OptionError */
export function openFile(path: string): OpenFile {
  checkLastingFiles('sqliteStore', 'path');
  // SQLite would read it as a URL, with settings in its query.
  if (path.startsWith('file:')) throw badOption('sqliteStore', 'path', 'must be a path, and not a URL', path);
  const { DatabaseSync } = loadSqlite();
  let database: OwnDatabase | undefined;
  try {
    if (path !== IN_MEMORY) makeFile(path);
    const opened = new DatabaseSync(path);
    database = opened;
    // While the file is made, others wait for it.
    database.exec(`PRAGMA busy_timeout = ${PATIENCE}`);
    // Before the journal mode is set, which is a part of the file.
    untilFree(() => hasTables(opened, 'path', path, true));
    untilFree(() => opened.exec('PRAGMA journal_mode = WAL'));
    database.exec('PRAGMA synchronous = NORMAL');
    database.exec(`PRAGMA wal_autocheckpoint = ${CHECKPOINT}`);
    database.exec(`PRAGMA journal_size_limit = ${LOG_SIZE}`);
    prepareTables(database, 'path', path, true);
    // From now on, waiting must not block the event loop.
    database.exec('PRAGMA busy_timeout = 0');
    return { database, place: path === IN_MEMORY ? undefined : realpathSync(path) };
  } catch (error) {
    database?.close();
    throw isSqliteError(error) ? badOption('sqliteStore', 'path', ruleBroken(error), path) : error;
  }
}

/**
 * Makes an empty file that only this user may read: it names clients. SQLite gives the files beside it the same mode. A file
 * that exists is not even opened, since closing it would give up locks that another store of this process has on it.
 */
function makeFile(path: string): void {
  try {
    closeSync(openSync(path, 'ax', 0o600));
  } catch {
    // It exists, or SQLite says why it cannot be made.
  }
}

function ruleBroken(error: unknown): string {
  if (isDamaged(error)) return 'must be the path of a SQLite file; name another, or move this one away';
  return `must be the path of a file that can be written (${(error as Error).message})`;
}

/** SQLite does not wait for every lock by itself. */
function untilFree(act: () => unknown): void {
  const end = performance.now() + PATIENCE;
  const cell = new Int32Array(new SharedArrayBuffer(4));
  for (;;) {
    try {
      act();
      return;
    } catch (error) {
      if (!isBusy(error) || performance.now() > end) throw error;
      Atomics.wait(cell, 0, 0, 5);
    }
  }
}

/**
 * Makes the tables if they are not there, and checks that this release can read them. Nothing is ever deleted.
 * @throws OptionError
 */
export function prepareTables(database: SqliteDatabase, option: string, shown: unknown, isOwn: boolean): void {
  database.exec('BEGIN IMMEDIATE');
  try {
    if (!hasTables(database, option, shown, isOwn)) database.exec(TABLES);
    // Shows now whether the file can be written.
    database.exec('UPDATE gatewarden_limits_info SET version = version');
    database.exec('COMMIT');
  } catch (error) {
    try {
      database.exec('ROLLBACK');
    } catch {}
    throw error;
  }
}

/**
 * Whether the tables are there.
 * @throws OptionError if another release made them, and for a file of its own that holds other tables
 */
function hasTables(database: SqliteDatabase, option: string, shown: unknown, isOwn: boolean): boolean {
  const names = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all() as readonly {
    readonly name: string;
  }[];
  if (names.some(({ name }) => name === 'gatewarden_limits_info')) {
    checkVersion(database, option, shown);
    return true;
  }
  if (isOwn && names.length > 0) {
    const rule = 'is a SQLite file of another program';
    throw badOption('sqliteStore', option, rule, shown, 'name a file of its own, or pass its "database"');
  }
  return false;
}

function checkVersion(database: SqliteDatabase, option: string, shown: unknown): void {
  const info = database.prepare('SELECT version FROM gatewarden_limits_info').get() as
    | { readonly version: number }
    | undefined;
  if (info?.version === VERSION) return;
  const rule = `holds limits in form ${info?.version ?? 'unknown'}, and this release reads form ${VERSION}`;
  throw badOption('sqliteStore', option, rule, shown, 'use the newer release, or name another file');
}
