/**
 * Limits for several processes of one machine, in a SQLite file.
 * @module gatewarden/sqlite
 */
export type { SqliteDatabase, SqliteStatement } from './database.js';
export type { SqliteStore } from './sqlite-limit-store.js';
export { type SqliteStoreOptions, sqliteStore } from './sqlite-store.js';
export type { SqliteStoreEvent } from './store-health.js';
