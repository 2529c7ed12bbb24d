import * as fs from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { JournaledStore } from '../../../../src/limit/memory/journal/journaled-store.js';
import { nodeModules } from '../../../../src/limit/memory/journal/node-modules.js';
import { concurrency, dailyQuota, slidingWindow } from '../../../../src/limit/policy.js';
import { QUICK } from './reopening-store.js';
import { useScratch } from './scratch.js';

const NOON = Date.UTC(2025, 5, 15, 12);
const WINDOW = slidingWindow({ limit: 5, window: '60s' });
const SLOTS = concurrency({ limit: 5, lease: '60s' });
const DAY = dailyQuota({ limit: 5 });
/** The journal counts a little longer, since it reads two clocks one after the other. */
const NOISE = 20;

const newDirectory = useScratch();
let stores: JournaledStore[] = [];
afterEach(() => {
  for (const store of stores) store.close();
  stores = [];
});

/** A process of a machine, which has clocks of its own. */
interface Process {
  readonly directory: string;
  /** The monotonic clock, which begins anywhere. */
  readonly steady: number;
  readonly wall: number;
  /** Since the machine was started. NaN where it is not known. */
  readonly uptime: number;
  readonly boot: string;
}

function start({ directory, steady, wall, uptime, boot }: Process) {
  const clock = { steady, wall, read: () => undefined };
  const modules = nodeModules();
  const readFileSync = (path: string, encoding: 'latin1') => {
    if (!path.endsWith('boot_id')) return fs.readFileSync(path, encoding);
    if (boot === '') throw new Error('ENOENT');
    return `${boot}\n`;
  };
  const files = { ...QUICK.modules?.fs, readFileSync } as unknown as typeof fs;
  const now = { uptime };
  const os = {
    ...modules.os,
    uptime: () => {
      if (Number.isNaN(now.uptime)) throw new Error('no uptime');
      return now.uptime / 1000;
    },
  };
  const settings = { directory, sync: 'each', mode: 'refuse', onEvent: undefined } as const;
  const store = new JournaledStore(1000, clock, false, settings, { ...QUICK, modules: { ...modules, fs: files, os } });
  stores.push(store);
  return {
    store,
    pass(ms: number) {
      clock.steady += ms;
      clock.wall += ms;
      now.uptime += ms;
    },
    /** How much longer the first unit counts in each policy, by the clock of windows. */
    left: () => store.peek([WINDOW, SLOTS], ['key', 'key']).map(({ resetAt }) => resetAt - clock.wall),
    remaining: () => store.peek([WINDOW, SLOTS, DAY], ['key', 'key', 'key']).map(({ remaining }) => remaining),
  };
}

const FIRST = { steady: 5_000_000, wall: NOON, uptime: 900_000, boot: 'first' };
/** Since the first process has charged, and since it has ended. */
const CHARGED = 20_000;
const OFF = 10_000;
const LATER = CHARGED + OFF;

describe('a window and a lease with 40 of 60 seconds left', () => {
  it.each([
    ['after 10 seconds on the same machine', { wall: NOON + LATER, uptime: 900_000 + LATER, boot: 'first' }, 30_000],
    ['if the time of day was set back', { wall: NOON - 9e6, uptime: 900_000 + LATER, boot: 'first' }, 30_000],
    ['if the time of day was set ahead', { wall: NOON + 9e6, uptime: 900_000 + LATER, boot: 'first' }, 30_000],
    ['after another start of the machine', { wall: NOON + LATER, uptime: 4000, boot: 'second' }, 30_000],
    [
      'after another start, if the time of day was set back',
      { wall: NOON - 9e6, uptime: 4000, boot: 'second' },
      40_000,
    ],
    ['on a system that knows no uptime', { wall: NOON + LATER, uptime: Number.NaN, boot: '' }, 30_000],
    ['on such a system, if the time of day was set back', { wall: NOON - 9e6, uptime: Number.NaN, boot: '' }, 40_000],
    ['in another container, whose uptime is its own', { wall: NOON + LATER, uptime: 1000, boot: 'first' }, 30_000],
  ])('have %s what is left of them', (_, clocks, expected) => {
    const directory = newDirectory();
    const first = start({ directory, ...FIRST });
    first.store.admit([WINDOW, SLOTS, DAY], ['key', 'key', 'key'], [1, 2, 3]);
    first.pass(CHARGED);
    // So that the clocks were read now.
    first.store.admit([DAY], ['other'], [1]);
    first.store.close();
    const second = start({ directory, steady: 77_000, ...clocks });
    for (const left of second.left()) {
      expect(left).toBeGreaterThanOrEqual(expected);
      expect(left).toBeLessThanOrEqual(expected + NOISE);
    }
    expect(second.remaining()).toEqual([4, 3, 2]);
    second.pass(expected + NOISE);
    expect(second.remaining()).toEqual([5, 5, 2]);
  });

  it('have it also after several processes, of which one has changed nothing', () => {
    const directory = newDirectory();
    const clocks = (ms: number) => ({ directory, wall: NOON + ms, uptime: 900_000 + ms, boot: 'first' });
    const first = start({ directory, ...FIRST });
    first.store.admit([WINDOW, SLOTS], ['key', 'key'], [1, 2]);
    first.pass(5000);
    first.store.admit([WINDOW], ['key'], [1]);
    first.store.close();
    start({ ...clocks(10_000), steady: 3_000_000_000 }).store.close();
    const third = start({ ...clocks(20_000), steady: 12 });
    third.store.admit([WINDOW], ['key'], [1]);
    third.store.close();
    const fourth = start({ ...clocks(30_000), steady: 9_000_000 });
    expect(fourth.remaining().slice(0, 2)).toEqual([2, 3]);
    for (const left of fourth.left()) {
      expect(left).toBeGreaterThanOrEqual(30_000);
      expect(left).toBeLessThanOrEqual(30_000 + 3 * NOISE);
    }
    fourth.pass(30_000 + 3 * NOISE);
    expect(fourth.remaining().slice(0, 2)).toEqual([3, 5]);
    fourth.pass(5000);
    expect(fourth.remaining().slice(0, 2)).toEqual([4, 5]);
    fourth.pass(15_000);
    expect(fourth.remaining().slice(0, 2)).toEqual([5, 5]);
  });

  it('count the lease from when it was renewed', () => {
    const directory = newDirectory();
    const first = start({ directory, ...FIRST });
    const held = first.store.admit([SLOTS], ['key'], [1]);
    if (held.kind !== 'admitted') throw new Error('refused');
    first.pass(CHARGED);
    expect(first.store.renew(held.receipt)).toBe(true);
    first.store.close();
    const second = start({ directory, ...FIRST, steady: 77_000, wall: NOON + LATER, uptime: 900_000 + LATER });
    second.pass(50_000 - 1);
    expect(second.remaining()).toEqual([5, 4, 5]);
    second.pass(1 + NOISE);
    expect(second.remaining()).toEqual([5, 5, 5]);
  });
});
