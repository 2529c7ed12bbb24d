import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { isThenable } from '../../../src/core/thenable.js';
import { slidingWindow } from '../../../src/limit/policy.js';
import { sqliteStore } from '../../../src/limit/sqlite/sqlite-store.js';
import { type SpawnedWorker, spawnWorker } from '../../redis/processes.js';
import type { Order } from '../admit-order.js';
import { fullestInterval } from '../reference-log.js';
import type { Outcome } from './admit-worker.js';
import { describeSqlite, makeFolder } from './describe.js';

const LONG = Number(process.env.PROPERTY_RUNS ?? 0) > 10_000;
const HAMMER_MS = LONG ? 10_000 : 1_500;
const KILLS = LONG ? 100 : 12;
const PROCESSES = 4;
const DAY = 86_400_000;

describeSqlite('several processes over one SQLite file', () => {
  let folder: ReturnType<typeof makeFolder>;
  let workers: SpawnedWorker[] = [];
  let spawned = 0;

  beforeEach(() => {
    folder = makeFolder();
  });
  afterEach(async () => {
    for (const worker of workers) await worker.stop();
    workers = [];
    spawned = 0;
    folder.remove();
  });

  const notesOf = (n: number) => join(folder.folder, `notes-${n}`);
  const start = () => {
    const worker = spawnWorker(new URL('admit-worker.ts', import.meta.url), {
      WORKER_PATH: folder.path,
      WORKER_NOTES: notesOf(spawned++),
    });
    workers.push(worker);
    return worker;
  };

  /** When all processes were told that something was admitted, by key. */
  function answered(): ReadonlyMap<string, readonly number[]> {
    const times = new Map<string, number[]>();
    for (let n = 0; n < spawned; n++) {
      if (!existsSync(notesOf(n))) continue;
      for (const line of readFileSync(notesOf(n), 'utf8').split('\n').filter(Boolean)) {
        const [key = '', at] = line.split(' ');
        const list = times.get(key);
        if (list === undefined) times.set(key, [Number(at)]);
        else list.push(Number(at));
      }
    }
    for (const list of times.values()) list.sort((a, b) => a - b);
    return times;
  }

  async function run(order: Order): Promise<readonly Outcome[]> {
    const started = Array.from({ length: PROCESSES }, start);
    for (const worker of started) expect(await worker.receive(60_000)).toBe('ready');
    for (const worker of started) worker.send({ ...order });
    return Promise.all(started.map(async (worker) => (await worker.receive(60_000)) as Outcome));
  }

  const sumOf = (outcomes: readonly Outcome[], of: keyof Outcome) =>
    outcomes.reduce((total, outcome) => total + outcome[of], 0);

  it('admits exactly five of 400 parallel requests', async () => {
    const outcomes = await run({ limit: 5, window: 60_000, keys: ['key'], parallel: 100, duration: 0 });
    expect(sumOf(outcomes, 'admitted')).toBe(5);
    expect(sumOf(outcomes, 'refused')).toBe(395);
  }, 120_000);

  it('never admits more than the limit in any window, at full speed', async () => {
    const order = { limit: 20, window: 250, keys: ['a', 'b', 'c'], parallel: 16, duration: HAMMER_MS };
    const outcomes = await run(order);
    expect(sumOf(outcomes, 'failed')).toBe(0);
    const times = answered();
    for (const key of order.keys) {
      const charges = (times.get(key) ?? []).map((at) => ({ at, units: 1 }));
      expect(fullestInterval(charges, order.window)).toBe(order.limit);
      expect(charges.length).toBeGreaterThan((order.limit * HAMMER_MS) / order.window / 2);
    }
    const requests = sumOf(outcomes, 'admitted') + sumOf(outcomes, 'refused');
    console.log(
      `four processes, ${HAMMER_MS} ms: ${requests} requests, ${sumOf(outcomes, 'admitted')} admitted, ` +
        `${sumOf(outcomes, 'waited')} waited`,
    );
  }, 120_000);

  it('forgets no answered admission when processes are killed, counts none twice, and stays unlocked', async () => {
    const keys = Array.from({ length: LONG ? 5000 : 500 }, (_, i) => `key-${i}`);
    // High enough that something is admitted all the time.
    const order = { limit: 500, window: DAY, keys, parallel: 4, duration: 600_000 };
    const policy = slidingWindow({ limit: order.limit, window: '24h' });
    const running = Array.from({ length: PROCESSES }, start);
    for (const worker of running) expect(await worker.receive(60_000)).toBe('ready');
    for (const worker of running) worker.send({ ...order });
    for (let kill = 0; kill < KILLS; kill++) {
      await delay(20 + Math.random() * 100);
      const place = Math.floor(Math.random() * PROCESSES);
      await running[place]?.stop();
      const next = start();
      running[place] = next;
      expect(await next.receive(60_000)).toBe('ready');
      next.send({ ...order });
    }
    for (const worker of running) await worker.stop();
    const store = sqliteStore({ path: folder.path });
    const first = store.admit([policy], ['another'], [1]);
    expect(isThenable(first), 'the lock is free').toBe(false);
    const times = answered();
    let total = 0;
    let unanswered = 0;
    for (const key of keys) {
      const counted = (times.get(key) ?? []).length;
      const [state] = await store.peek([policy], [key]);
      const used = order.limit - (state?.remaining ?? Number.NaN);
      expect(counted, key).toBeLessThanOrEqual(used);
      total += counted;
      unanswered += used - counted;
    }
    // What a process was killed in, between the write and the answer.
    expect(unanswered).toBeLessThanOrEqual(KILLS + PROCESSES);
    expect(total).toBeGreaterThan(KILLS * 10);
    console.log(`${KILLS} kills: ${total} admissions answered, ${unanswered} counted and not answered, none lost`);
    store.close();
  }, 600_000);

  it('goes on when a process is killed that has the lock', async () => {
    const store = sqliteStore({ path: folder.path, timeout: '10s' });
    const policy = slidingWindow({ limit: 5, window: '1h' });
    await store.admit([policy], ['key'], [2]);
    const holder = spawnWorker(new URL('lock-worker.ts', import.meta.url), { WORKER_PATH: folder.path });
    workers.push(holder);
    expect(await holder.receive(60_000)).toBe('locked');
    const waiting = store.admit([policy], ['key'], [1]);
    expect(isThenable(waiting)).toBe(true);
    await holder.stop();
    // What the killed process has deleted without a commit is there.
    expect(await waiting).toMatchObject({ kind: 'admitted', states: [{ remaining: 2 }] });
    store.close();
  }, 60_000);
});
