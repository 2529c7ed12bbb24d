import { OptionError } from '../../core/option.js';
import { StoreError, unavailable } from '../store.js';

/** A prepared statement, as `node:sqlite` makes it. */
export interface SqliteStatement {
  get(...values: readonly (string | number | Uint8Array)[]): unknown;
  all(...values: readonly (string | number | Uint8Array)[]): readonly unknown[];
  run(...values: readonly (string | number | Uint8Array)[]): unknown;
}

/** The part of a `DatabaseSync` of `node:sqlite` that the store uses. */
export interface SqliteDatabase {
  exec(sql: string): unknown;
  prepare(sql: string): SqliteStatement;
}

/** A connection of the store's own. */
export interface OwnDatabase extends SqliteDatabase {
  close(): void;
}

interface SqliteModule {
  readonly DatabaseSync: new (path: string) => OwnDatabase;
}

const NEEDS_NODE =
  'gatewarden: sqliteStore needs node:sqlite, which Node has from 22.13 on; use a newer Node, or pass "database"';

/** Loads `node:sqlite`. Not imported: a Node without it would fail before anything could say why. @throws OptionError */
export function loadSqlite(): SqliteModule {
  const load: ((id: string) => object | undefined) | undefined = process.getBuiltinModule;
  const found = load?.('node:sqlite');
  if (found === undefined) throw new OptionError(`${NEEDS_NODE}, got ${process.version}`);
  return found as SqliteModule;
}

// https://www.sqlite.org/rescode.html
const BUSY = 5;
const CORRUPT = 11;
const NOT_A_DATABASE = 26;
const NAMES: Readonly<Record<string, number>> = { BUSY, CORRUPT, NOTADB: NOT_A_DATABASE };

/** The primary result code of an error of SQLite, 1 if it is not known; undefined for another error. */
function resultCode(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  if ('errcode' in error && typeof error.errcode === 'number') return error.errcode & 0xff;
  if (!('code' in error) || typeof error.code !== 'string') return undefined;
  const [, name] = /^SQLITE_([A-Z]+)/.exec(error.code) ?? [];
  if (name !== undefined) return NAMES[name] ?? 1;
  return error.code === 'ERR_SQLITE_ERROR' || error.code === 'ERR_INVALID_STATE' ? 1 : undefined;
}

/** Whether an error is one of SQLite, and not one of the store's own. */
export function isSqliteError(error: unknown): boolean {
  return resultCode(error) !== undefined;
}

/** Whether another connection has the lock. */
export function isBusy(error: unknown): boolean {
  return resultCode(error) === BUSY;
}

/** Whether the file is no database, or a damaged one. */
export function isDamaged(error: unknown): boolean {
  const code = resultCode(error);
  return code === CORRUPT || code === NOT_A_DATABASE;
}

/** What an error of SQLite means to the callers of the store. Another error stays as it is. */
export function storeErrorOf(error: unknown, file: string): unknown {
  if (!isSqliteError(error)) return error;
  const reason = (error as Error).message;
  if (isDamaged(error)) {
    return new StoreError('GATEWARDEN_STORE_DATA', `the SQLite file ${file} is damaged: ${reason}`, error);
  }
  return unavailable(`the SQLite file ${file} cannot be used: ${reason}`, error);
}

/** The error for a lock that another connection kept for too long. */
export function locked(file: string, waited: number): StoreError {
  return unavailable(`the SQLite file ${file} was locked by another connection for ${waited} ms`);
}
