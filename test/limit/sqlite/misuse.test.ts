import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OptionError } from '../../../src/core/option.js';
import { concurrency, slidingWindow } from '../../../src/limit/policy.js';
import { sqliteStore } from '../../../src/limit/sqlite/sqlite-store.js';
import { describeSqlite, makeFolder, nodeSqlite } from './describe.js';

const perMinute = slidingWindow({ limit: 3, window: '1m' });

describe('sqliteStore refuses at construction', () => {
  const bad = (options: object): string => {
    try {
      sqliteStore(options as never).close();
    } catch (error) {
      expect(error).toBeInstanceOf(OptionError);
      return (error as Error).message;
    }
    throw new Error('accepted');
  };

  it.each<[object, string]>([
    [{ path: '/x', timeout: 250 }, 'gatewarden: sqliteStore "timeout" needs a unit'],
    [{ path: '/x', timeout: '2m' }, "gatewarden: sqliteStore \"timeout\" must be at most '1m', got '2m'"],
    [{ path: '/x', maxEntries: 0 }, 'gatewarden: sqliteStore "maxEntries" must be a positive integer, got 0'],
    [{ path: '/x', onEvent: 'no' }, 'gatewarden: sqliteStore "onEvent" must be a function, got \'no\''],
    [{ path: '/x', now: 1 }, 'gatewarden: sqliteStore "now" must be a function, got 1'],
    [{ file: '/x' }, 'gatewarden: sqliteStore has no option "file"'],
    [{ path: '/x', database: {} }, 'gatewarden: sqliteStore "path" must not be set beside "database", got \'/x\''],
    [{ database: {} }, 'gatewarden: sqliteStore "database" must be an open database, such as a DatabaseSync'],
    [{}, 'gatewarden: sqliteStore "path" must be a non-empty string, got undefined'],
    [
      { path: 'file:x.db?mode=ro' },
      'gatewarden: sqliteStore "path" must be a path, and not a URL, got \'file:x.db?mode=ro\'',
    ],
    [{ path: '' }, 'gatewarden: sqliteStore "path" must be a non-empty string, got \'\''],
  ])('%o', (options, message) => {
    expect(bad(options)).toContain(message);
  });

  it.skipIf(nodeSqlite !== undefined)('a path on a Node without node:sqlite, and says which Node has it', () => {
    expect(bad({ path: '/x' })).toBe(
      'gatewarden: sqliteStore needs node:sqlite, which Node has from 22.13 on; ' +
        `use a newer Node, or pass "database", got ${process.version}`,
    );
  });
});

describeSqlite('sqliteStore and what is in its file', () => {
  let folder: ReturnType<typeof makeFolder>;
  const sqlite = nodeSqlite as NonNullable<typeof nodeSqlite>;

  beforeEach(() => {
    folder = makeFolder();
  });
  afterEach(() => folder.remove());

  const refusalOf = (path: string): string => {
    try {
      sqliteStore({ path }).close();
    } catch (error) {
      expect(error).toBeInstanceOf(OptionError);
      return (error as Error).message;
    }
    throw new Error('accepted');
  };

  const change = (sql: string) => {
    const database = new sqlite.DatabaseSync(folder.path);
    database.exec(sql);
    database.close();
  };

  it('keeps counting after it was opened again', async () => {
    const first = sqliteStore({ path: folder.path });
    await first.admit([perMinute], ['key'], [2]);
    first.close();
    const second = sqliteStore({ path: folder.path });
    expect(await second.peek([perMinute], ['key'])).toMatchObject([{ remaining: 1 }]);
    second.close();
  });

  it('makes files that only their user may read, beside the file that a link names', async () => {
    sqliteStore({ path: folder.path }).close();
    const link = join(folder.folder, 'link.db');
    symlinkSync(folder.path, link);
    const store = sqliteStore({ path: link });
    await store.admit([perMinute], ['key'], [1]);
    for (const file of [folder.path, `${folder.path}-wal`, `${folder.path}-shm`]) {
      expect(statSync(file).mode & 0o777, file).toBe(0o600);
    }
    store.close();
  });

  it('refuses a file that is no SQLite file, and leaves it as it is', () => {
    const text = 'my notes, and more of them than a header has bytes\n'.repeat(40);
    writeFileSync(folder.path, text);
    expect(refusalOf(folder.path)).toBe(
      'gatewarden: sqliteStore "path" must be the path of a SQLite file; name another, or move this one away, ' +
        `got '${folder.path}'`,
    );
    expect(readFileSync(folder.path, 'utf8')).toBe(text);
  });

  it('refuses a file of another program, and leaves it as it is', () => {
    change('CREATE TABLE users (name TEXT); INSERT INTO users VALUES (1)');
    const bytes = readFileSync(folder.path);
    expect(refusalOf(folder.path)).toBe(
      `gatewarden: sqliteStore "path" is a SQLite file of another program, got '${folder.path}'; ` +
        'name a file of its own, or pass its "database"',
    );
    const database = new sqlite.DatabaseSync(folder.path);
    expect(database.prepare('SELECT name FROM sqlite_schema').all()).toEqual([{ name: 'users' }]);
    database.close();
    // Its journal mode is a part of the file.
    expect(readFileSync(folder.path).equals(bytes)).toBe(true);
    expect(readdirSync(folder.folder)).toEqual(['limits.db']);
  });

  it('refuses a file of a newer release, and leaves it as it is', async () => {
    const store = sqliteStore({ path: folder.path });
    await store.admit([perMinute], ['key'], [2]);
    store.close();
    change('UPDATE gatewarden_limits_info SET version = 2');
    expect(refusalOf(folder.path)).toBe(
      'gatewarden: sqliteStore "path" holds limits in form 2, and this release reads form 1, ' +
        `got '${folder.path}'; use the newer release, or name another file`,
    );
    change('UPDATE gatewarden_limits_info SET version = 1');
    const again = sqliteStore({ path: folder.path });
    expect(await again.peek([perMinute], ['key'])).toMatchObject([{ remaining: 1 }]);
    again.close();
  });

  it.each([
    ['a folder that is not there', (path: string) => join(path, 'nowhere', 'limits.db')],
    [
      'a folder',
      (path: string) => {
        mkdirSync(path);
        return path;
      },
    ],
  ])('refuses %s', (_, pathOf) => {
    const path = pathOf(folder.path);
    expect(refusalOf(path)).toBe(
      'gatewarden: sqliteStore "path" must be the path of a file that can be written (unable to open database file), ' +
        `got '${path}'`,
    );
  });

  it.skipIf(process.getuid?.() === 0)('refuses a file that cannot be written', () => {
    sqliteStore({ path: folder.path }).close();
    chmodSync(folder.path, 0o444);
    expect(refusalOf(folder.path)).toContain('must be the path of a file that can be written');
  });

  it('shares a database that was passed in with its other tables, and leaves it open', async () => {
    const database = new sqlite.DatabaseSync(folder.path);
    database.exec('CREATE TABLE users (name TEXT)');
    const store = sqliteStore({ database });
    await store.admit([perMinute], ['key'], [2]);
    store.close();
    const again = sqliteStore({ database });
    expect(await again.peek([perMinute], ['key'])).toMatchObject([{ remaining: 1 }]);
    again.close();
    database.close();
  });

  it('does not decide while another transaction is open on a database that was passed in', () => {
    const database = new sqlite.DatabaseSync(folder.path);
    const events: unknown[] = [];
    const store = sqliteStore({ database, onEvent: (event) => events.push(event.kind) });
    database.exec('BEGIN');
    expect(() => store.admit([perMinute], ['key'], [1])).toThrow(
      'gatewarden: the SQLite file of "database" cannot be used: cannot start a transaction within a transaction',
    );
    database.exec('COMMIT');
    expect(store.admit([perMinute], ['key'], [1])).toMatchObject({ kind: 'admitted' });
    expect(events).toEqual(['unavailable', 'available']);
    database.close();
  });

  it.each([
    ['nothing', 'zeroblob(0)'],
    ['another form', "x'07'"],
    ['half of a counter', 'substr(value, 1, length(value) - 1)'],
    ['more than a counter', "value || x'00'"],
    ['numbers without an end', "x'01ffffffffffffffffffff'"],
  ])('reports a counter of which the row holds %s, and admits nothing by it', async (_, value) => {
    const store = sqliteStore({ path: folder.path });
    await store.admit([perMinute], ['key'], [2]);
    change(`UPDATE gatewarden_limits SET value = CAST(${value} AS BLOB)`);
    const failure = expect.objectContaining({ code: 'GATEWARDEN_STORE_DATA' });
    const message = `a counter of the policy "60s/60000" in the SQLite file ${folder.path} cannot be read`;
    for (const act of [
      () => store.admit([perMinute], ['key'], [1]),
      () => store.peek([perMinute], ['key']),
      () => store.reset([perMinute], ['key']),
    ]) {
      expect(act).toThrow(failure);
      expect(act).toThrow(message);
    }
    // Others are not touched by it, also while the search for expired counters passes it.
    for (let i = 0; i < 100; i++) {
      expect(store.admit([perMinute], [`other-${i}`], [1])).toMatchObject({ kind: 'admitted' });
    }
    store.close();
  });

  it('reports a file that was damaged while it is open', async () => {
    const store = sqliteStore({ path: folder.path, onEvent: () => {} });
    for (let i = 0; i < 2000; i++) await store.admit([perMinute], [`key-${i}`], [1]);
    change('PRAGMA wal_checkpoint(TRUNCATE)');
    const bytes = readFileSync(folder.path);
    writeFileSync(folder.path, bytes.fill(0xa5, 4096));
    const codes = new Set<unknown>();
    for (let i = 0; i < 2000; i += 50) {
      try {
        await store.admit([perMinute, concurrency({ limit: 1 })], [`key-${i}`, `key-${i}`], [1, 1]);
      } catch (error) {
        codes.add((error as { code: unknown }).code);
      }
    }
    expect([...codes]).toEqual(['GATEWARDEN_STORE_DATA']);
    store.close();
  });

  it('decides about nothing any more after it was closed', () => {
    const store = sqliteStore({ path: folder.path });
    store.close();
    const message = `gatewarden: the store over the SQLite file ${folder.path} is closed`;
    expect(() => store.admit([perMinute], ['key'], [1])).toThrow(message);
    expect(() => store.peek([perMinute], ['key'])).toThrow();
    store.close();
  });

  it('refuses receipts of another store', () => {
    const [one, two] = [1, 2].map(() => sqliteStore({ path: ':memory:' }));
    const decision = one?.admit([perMinute], ['key'], [1]);
    if (decision === undefined || !('receipt' in decision)) throw new Error('refused');
    expect(() => two?.settle(decision.receipt, [0])).toThrow('gatewarden: this receipt is not from this sqliteStore');
    one?.close();
    two?.close();
  });

  it('refuses an admission that names a counter twice, or none', () => {
    const store = sqliteStore({ path: ':memory:' });
    expect(() => store.admit([perMinute, perMinute], ['key', 'key'], [1, 1])).toThrow(
      'gatewarden: one admission names policy "60s" twice for the same key',
    );
    expect(() => store.admit([], [], [])).toThrow('gatewarden: an admission needs at least one policy');
    store.close();
  });

  it.each([Number.NaN, -1, Number.POSITIVE_INFINITY])('does not decide by a clock that returns %d', (time) => {
    const store = sqliteStore({ path: ':memory:', now: () => time });
    expect(() => store.admit([perMinute], ['key'], [1])).toThrow(
      `gatewarden: sqliteStore "now" must return epoch milliseconds, got ${time}`,
    );
    store.close();
  });
});
