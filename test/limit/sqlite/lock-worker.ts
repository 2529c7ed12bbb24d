/** A process that takes the lock of a SQLite file, and keeps it until it is killed. */
const sqlite = process.getBuiltinModule('node:sqlite') as {
  readonly DatabaseSync: new (path: string) => { exec(sql: string): void };
};
const database = new sqlite.DatabaseSync(process.env.WORKER_PATH ?? '');
database.exec('PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE; DELETE FROM gatewarden_limits');
process.send?.('locked');
setInterval(() => database, 1000);
