import { afterEach, beforeEach, expect, it } from 'vitest';
import { concurrency, type QuotaPolicy, slidingWindow } from '../../../src/limit/policy.js';
import type { OwnDatabase } from '../../../src/limit/sqlite/database.js';
import { sqliteStore } from '../../../src/limit/sqlite/sqlite-store.js';
import type { SqliteStoreEvent } from '../../../src/limit/sqlite/store-health.js';
import type { Decision } from '../../../src/limit/store.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { describeSqlite, nodeSqlite } from './describe.js';

const NOON = Date.UTC(2025, 5, 15, 12);
const perMinute = slidingWindow({ limit: 4, window: '1m' });
/** Never refused here. */
const plenty = slidingWindow({ limit: 100_000, window: '1m', name: 'plenty' });
const slots = concurrency({ limit: 4, lease: '10s' });

describeSqlite('sqliteStore keeps its file small:', () => {
  let database: OwnDatabase;
  let clock: ManualClock;
  let store: ReturnType<typeof sqliteStore>;
  let events: SqliteStoreEvent[];

  beforeEach(() => {
    database = new (nodeSqlite as NonNullable<typeof nodeSqlite>).DatabaseSync(':memory:');
    clock = new ManualClock(NOON);
    events = [];
  });
  afterEach(() => {
    store.close();
    database.close();
  });

  const open = (maxEntries?: number) => {
    store = sqliteStore({ database, maxEntries, now: clock.now, onEvent: (event) => events.push(event) });
  };
  const admit = (policy: QuotaPolicy, key: string, units = 1) => store.admit([policy], [key], [units]) as Decision;
  const rows = () => (database.prepare('SELECT count(*) AS n FROM gatewarden_limits').get() as { n: number }).n;
  const entries = () => (database.prepare('SELECT entries AS n FROM gatewarden_limits_info').get() as { n: number }).n;
  const left = (policy: QuotaPolicy, key: string) =>
    (store.peek([policy], [key]) as readonly { remaining: number }[])[0]?.remaining;

  it('counters that have expired are forgotten a few at a time, by other requests', () => {
    open();
    for (let i = 0; i < 1000; i++) admit(perMinute, `old-${i}`);
    expect(rows()).toBeGreaterThan(990);
    clock.advance(60_000);
    let writes = 0;
    let most = 0;
    while (rows() > 20 && writes < 1000) {
      const before = rows();
      admit(plenty, `new-${writes++ % 4}`);
      most = Math.max(most, before - rows());
    }
    expect(most).toBeLessThanOrEqual(16);
    // Rows are looked at twice as often as they are written.
    expect(writes).toBeLessThan(600);
    expect(entries()).toBe(rows());
  });

  it('at its bound, those that have used least are forgotten for new ones, and none that is at half its limit', () => {
    open(100);
    for (let i = 0; i < 50; i++) admit(perMinute, `busy-${i}`, 2);
    for (let i = 0; i < 50; i++) admit(perMinute, `idle-${i}`, 1);
    for (let i = 0; i < 300; i++) {
      expect(admit(perMinute, `stranger-${i}`).kind).toBe('admitted');
      expect(rows()).toBe(100);
    }
    for (let i = 0; i < 50; i++) expect(left(perMinute, `busy-${i}`)).toBe(2);
    expect(entries()).toBe(100);
  });

  it('at its bound, no counter with a hold is forgotten, nor any of the same admission', () => {
    open(10);
    for (let i = 0; i < 8; i++) admit(slots, `held-${i}`);
    for (let i = 0; i < 30; i++) {
      expect(store.admit([perMinute, perMinute], [`a-${i}`, `b-${i}`], [1, 1])).toMatchObject({ kind: 'admitted' });
      expect(left(perMinute, `a-${i}`)).toBe(3);
      expect(left(perMinute, `b-${i}`)).toBe(3);
      expect(rows()).toBe(10);
      expect(entries()).toBe(10);
    }
    for (let i = 0; i < 8; i++) expect(left(slots, `held-${i}`)).toBe(3);
  });

  it('at its bound, it refuses to decide if no counter may be forgotten, charges nothing, and reports it', async () => {
    open(10);
    for (let i = 0; i < 10; i++) admit(perMinute, `busy-${i}`, 2);
    const message =
      'the SQLite file of "database" holds 10 counters that must not be forgotten; set "maxEntries" of sqliteStore higher';
    expect(() => admit(perMinute, 'new')).toThrow(message);
    expect(() => store.admit([perMinute, perMinute], ['busy-0', 'new'], [1, 1])).toThrow(message);
    await Promise.resolve();
    // Once, although requests with known keys are decided in between.
    expect(events).toMatchObject([{ kind: 'full', error: { message: `gatewarden: ${message}` } }]);
    expect(left(perMinute, 'busy-0')).toBe(2);
    // Those that are there go on.
    expect(admit(perMinute, 'busy-0').kind).toBe('admitted');
    expect(() => admit(perMinute, 'new')).toThrow(message);
    await Promise.resolve();
    expect(events).toHaveLength(1);
    clock.advance(60_000);
    expect(admit(perMinute, 'new').kind).toBe('admitted');
  });

  it('at its bound, it makes room for each new counter of an admission', () => {
    open(10);
    for (let i = 0; i < 8; i++) admit(slots, `held-${i}`);
    admit(plenty, 'least', 1);
    admit(plenty, 'little', 2);
    store.admit([perMinute, perMinute], ['a', 'b'], [1, 1]);
    expect(rows()).toBe(10);
    expect(left(plenty, 'little')).toBe(100_000);
  });

  it('at its bound, no counter is forgotten for another one of the same admission', () => {
    open(2);
    admit(perMinute, 'idle', 1);
    admit(perMinute, 'busy', 3);
    for (let i = 0; i < 3; i++) {
      expect(() => store.admit([perMinute, plenty], ['idle', `new-${i}`], [1, 1])).toThrow('must not be forgotten');
      expect(left(perMinute, 'idle')).toBe(3);
    }
    expect(rows()).toBe(2);
  });

  it('tokens rise also above those of counters that were forgotten, and if the clock steps back', () => {
    open();
    const tokenOf = (decision: Decision) => {
      if (decision.kind !== 'admitted') throw new Error('refused');
      store.release(decision.receipt);
      return decision.holds[0]?.token ?? Number.NaN;
    };
    clock.set(NOON + 10 * 3_600_000);
    const before = tokenOf(admit(slots, 'key'));
    clock.advance(1000);
    for (let i = 0; i < 20; i++) admit(plenty, 'another');
    expect(database.prepare("SELECT count(*) AS n FROM gatewarden_limits WHERE key = 'key'").get()).toEqual({ n: 0 });
    clock.set(NOON);
    expect(tokenOf(admit(slots, 'key'))).toBeGreaterThan(before);
    expect(tokenOf(admit(slots, 'key'))).toBeGreaterThan(before + 1);
  });

  it('a hold that a refused request has seen expired stays so if the clock steps back', () => {
    open();
    admit(slots, 'key');
    admit(perMinute, 'full', 4);
    clock.advance(11_000);
    expect(store.admit([slots, perMinute], ['key', 'full'], [1, 1])).toMatchObject({ kind: 'refused' });
    clock.set(NOON + 5000);
    expect(left(slots, 'key')).toBe(4);
  });

  it('a long key takes the room of a short one, and keys that UTF-8 cannot tell apart are counted apart', () => {
    open();
    const keys = ['x'.repeat(100_000), `${'x'.repeat(99_999)}y`, '\ud800', '\ud801', 'a\0b', 'a\0c', 'a', '\ufffd'];
    for (const [i, key] of keys.entries()) admit(perMinute, key, (i % 4) + 1);
    for (const [i, key] of keys.entries()) expect(left(perMinute, key), `key ${i}`).toBe(3 - (i % 4));
    expect(database.prepare('SELECT max(length(key)) AS n FROM gatewarden_limits').get()).toEqual({ n: 32 });
  });

  it('a refusal and a peek write no row', () => {
    open();
    admit(perMinute, 'key', 5);
    left(perMinute, 'unseen');
    expect(rows()).toBe(0);
  });
});
