import { statSync } from 'node:fs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { isThenable } from '../../../src/core/thenable.js';
import { limit } from '../../../src/limit/limit.js';
import { concurrency, slidingWindow } from '../../../src/limit/policy.js';
import type { OwnDatabase } from '../../../src/limit/sqlite/database.js';
import { sqliteStore } from '../../../src/limit/sqlite/sqlite-store.js';
import type { Decision } from '../../../src/limit/store.js';
import { ask } from '../../exchange-fixture.js';
import { describeSqlite, makeFolder, nodeSqlite } from './describe.js';

const perMinute = slidingWindow({ limit: 3, window: '1m' });
const slots = concurrency({ limit: 1 });

describeSqlite('sqliteStore, while another connection has the lock,', () => {
  let folder: ReturnType<typeof makeFolder>;
  let other: OwnDatabase;
  let store: ReturnType<typeof sqliteStore>;
  let events: string[];

  const open = (timeout: '60ms' | '10s') => {
    store = sqliteStore({ path: folder.path, timeout, onEvent: ({ kind }) => events.push(kind) });
    other = new (nodeSqlite as NonNullable<typeof nodeSqlite>).DatabaseSync(folder.path);
  };
  const lock = () => other.exec('BEGIN IMMEDIATE');
  const unlock = () => other.exec('COMMIT');
  const admitted = (decision: Decision) => {
    if (decision.kind !== 'admitted') throw new Error('refused');
    return decision;
  };

  beforeEach(() => {
    folder = makeFolder();
    events = [];
  });
  afterEach(() => {
    store.close();
    other.close();
    folder.remove();
  });

  it('waits without blocking the event loop, then rejects, and reports it once', async () => {
    open('60ms');
    lock();
    let turns = 0;
    // Timers may be late on a busy machine.
    let ticking = setImmediate(function tick() {
      turns++;
      ticking = setImmediate(tick);
    });
    const start = performance.now();
    const asked = [1, 2, 3].map(async () => store.admit([perMinute], ['key'], [1]));
    for (const one of asked) {
      await expect(one).rejects.toMatchObject({
        code: 'GATEWARDEN_STORE_UNAVAILABLE',
        message: `gatewarden: the SQLite file ${folder.path} was locked by another connection for 60 ms`,
      });
    }
    clearImmediate(ticking);
    expect(performance.now() - start).toBeGreaterThanOrEqual(60);
    expect(turns).toBeGreaterThan(1);
    expect(events).toEqual(['unavailable']);
    unlock();
    expect(store.admit([perMinute], ['key'], [3])).toMatchObject({ kind: 'admitted' });
    expect(events).toEqual(['unavailable', 'available']);
  });

  it('decides in the order of the requests as soon as it is free, all or nothing', async () => {
    open('10s');
    lock();
    const waiting = [2, 2, 1].map((units) => store.admit([perMinute], ['key'], [units]));
    expect(waiting.every(isThenable)).toBe(true);
    unlock();
    const decisions = await Promise.all(waiting);
    expect(decisions.map(({ kind }) => kind)).toEqual(['admitted', 'refused', 'admitted']);
    expect(store.peek([perMinute], ['key'])).toMatchObject([{ remaining: 0 }]);
  });

  it('decides about what waits before what comes when the lock is free', async () => {
    open('10s');
    lock();
    const waiting = store.admit([perMinute], ['key'], [2]);
    unlock();
    const later = store.admit([perMinute], ['key'], [2]);
    expect(await waiting).toMatchObject({ kind: 'admitted' });
    expect(await later).toMatchObject({ kind: 'refused' });
  });

  it('rejects all that share a transaction which fails, charges nothing, and goes on', async () => {
    open('10s');
    const database = new (nodeSqlite as NonNullable<typeof nodeSqlite>).DatabaseSync(folder.path);
    const shared = sqliteStore({ database, timeout: '10s', onEvent: ({ kind }) => events.push(kind) });
    await shared.admit([perMinute], ['key'], [1]);
    lock();
    const keys = ['key', ...Array.from({ length: 60 }, (_, i) => `${'k'.repeat(120)}${i}`), 'key'];
    const waiting = keys.map(async (key) => shared.admit([perMinute], [key], [1]));
    // No more than there are.
    database.exec('PRAGMA max_page_count = 1');
    unlock();
    for (const result of await Promise.allSettled(waiting)) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'GATEWARDEN_STORE_UNAVAILABLE' } });
    }
    expect(events).toEqual(['unavailable']);
    database.exec('PRAGMA max_page_count = 100000');
    expect(shared.admit([perMinute], ['key'], [2])).toMatchObject({ kind: 'admitted', states: [{ remaining: 0 }] });
    expect(events).toEqual(['unavailable', 'available']);
    shared.close();
    database.close();
  });

  it('ends a shared transaction that fails, so that the next one can begin', async () => {
    open('10s');
    lock();
    const waiting = [1, 2].map(async () => store.admit([perMinute], ['key'], [1]));
    other.exec('ALTER TABLE gatewarden_limits RENAME TO away');
    unlock();
    for (const result of await Promise.allSettled(waiting)) expect(result.status).toBe('rejected');
    other.exec('ALTER TABLE away RENAME TO gatewarden_limits');
    expect(store.admit([perMinute], ['key'], [3])).toMatchObject({ kind: 'admitted' });
  });

  it('rejects what cannot be decided, and decides the rest of what waited with it', async () => {
    open('10s');
    await store.admit([perMinute], ['damaged'], [1]);
    other.exec("UPDATE gatewarden_limits SET value = x'07'");
    lock();
    const waiting = ['key', 'damaged', 'key'].map(async (key) => store.admit([perMinute], [key], [1]));
    unlock();
    const results = await Promise.allSettled(waiting);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(store.peek([perMinute], ['key'])).toMatchObject([{ remaining: 1 }]);
  });

  it('answers peek', async () => {
    open('60ms');
    await store.admit([perMinute], ['key'], [1]);
    lock();
    expect(store.peek([perMinute], ['key'])).toMatchObject([{ remaining: 2 }]);
    unlock();
  });

  it('settles once it is free, and only once', async () => {
    open('60ms');
    const { receipt } = admitted(await store.admit([perMinute, slots], ['key', 'key'], [2, 1]));
    lock();
    const settling = [store.settle(receipt, [0, 0]), store.settle(receipt, [1, 1]), store.release(receipt)];
    expect(settling.map(isThenable)).toEqual([true, false, false]);
    // Longer than an admission waits.
    await new Promise((resolve) => setTimeout(resolve, 100));
    unlock();
    await Promise.all(settling);
    expect(store.peek([perMinute, slots], ['key', 'key'])).toMatchObject([{ remaining: 3 }, { remaining: 1 }]);
  });

  it('does not say that a lease was renewed', async () => {
    open('60ms');
    const { receipt } = admitted(await store.admit([slots], ['key'], [1]));
    lock();
    await expect(store.renew(receipt)).rejects.toMatchObject({ code: 'GATEWARDEN_STORE_UNAVAILABLE' });
    unlock();
    expect(store.renew(receipt)).toBe(true);
  });

  it('lets a correction be made later that has failed', () => {
    open('60ms');
    const database = other;
    const shared = sqliteStore({ database, onEvent: () => {} });
    const { receipt } = admitted(shared.admit([perMinute], ['key'], [2]) as Decision);
    // An error other than a lock: a transaction is open on the same connection.
    lock();
    expect(() => shared.settle(receipt, [0])).toThrow('cannot start a transaction within a transaction');
    unlock();
    shared.settle(receipt, [0]);
    expect(shared.peek([perMinute], ['key'])).toMatchObject([{ remaining: 3 }]);
    shared.close();
  });

  it('answers 503 by a limit, and never lets a request pass', async () => {
    open('60ms');
    const guard = limit({ store, by: 'client-ip', policies: perMinute });
    lock();
    const { passed, status, body } = await ask(guard);
    expect({ passed, status, code: JSON.parse(body).code }).toEqual({
      passed: false,
      status: 503,
      code: 'store-unavailable',
    });
    unlock();
    expect((await ask(guard)).passed).toBe(true);
  });

  it('rejects what waits when it is closed', async () => {
    open('10s');
    lock();
    const waiting = store.admit([perMinute], ['key'], [1]);
    store.close();
    await expect(waiting).rejects.toThrow(`gatewarden: the store over the SQLite file ${folder.path} was closed`);
    unlock();
  });
});

describeSqlite('sqliteStore, while another connection reads for long,', () => {
  it('lets its log of changes grow only until then', async () => {
    const folder = makeFolder();
    const store = sqliteStore({ path: folder.path });
    const reader = new (nodeSqlite as NonNullable<typeof nodeSqlite>).DatabaseSync(folder.path);
    const size = () => statSync(`${folder.path}-wal`).size;
    let requests = 0;
    const admit = (count: number) => {
      for (let i = 0; i < count; i++) {
        expect(store.admit([perMinute], [`key-${requests++}`], [1])).toMatchObject({ kind: 'admitted' });
      }
    };
    admit(1);
    reader.exec('BEGIN');
    reader.prepare('SELECT count(*) FROM gatewarden_limits').get();
    while (size() < 20_000_000 && requests < 20_000) admit(100);
    expect(size()).toBeGreaterThanOrEqual(20_000_000);
    reader.exec('COMMIT');
    admit(1000);
    expect(size()).toBeLessThan(10_000_000);
    reader.close();
    store.close();
    folder.remove();
  });
});

describeSqlite('sqliteStore, if the disk is full,', () => {
  it('decides nothing, leaves no trace, and goes on when there is room', () => {
    const database = new (nodeSqlite as NonNullable<typeof nodeSqlite>).DatabaseSync(':memory:');
    const events: string[] = [];
    const store = sqliteStore({ database, onEvent: ({ kind }) => events.push(kind) });
    database.exec('PRAGMA max_page_count = 12');
    let admitted = 0;
    const fill = () => {
      for (; admitted < 10_000; admitted++) store.admit([perMinute], [`${'k'.repeat(100)}${admitted}`], [1]);
    };
    expect(fill).toThrow('gatewarden: the SQLite file of "database" cannot be used: database or disk is full');
    expect(events).toEqual(['unavailable']);
    expect(database.prepare('SELECT count(*) AS n FROM gatewarden_limits').get()).toEqual({ n: admitted });
    expect(database.prepare('SELECT entries AS n FROM gatewarden_limits_info').get()).toEqual({ n: admitted });
    database.exec('PRAGMA max_page_count = 1000');
    expect(store.admit([perMinute], ['new'], [1])).toMatchObject({ kind: 'admitted' });
    expect(events).toEqual(['unavailable', 'available']);
    store.close();
    database.close();
  });
});

describeSqlite('limit with a queue over sqliteStore', () => {
  it('is refused at construction, since the store has no queues', () => {
    const store = sqliteStore({ path: ':memory:' });
    expect(() => limit({ store, policies: concurrency({ limit: 1, by: 'global' }), queue: { maxWait: '1s' } })).toThrow(
      /"queue"/,
    );
    store.close();
  });
});
