import { mkdtempSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type MemoryStore, memoryStore } from '../../../../src/limit/memory/memory-store.js';
import { concurrency, dailyQuota, gpuTime, slidingWindow } from '../../../../src/limit/policy.js';

const MINUTE = slidingWindow({ limit: 5, window: '1m' });
const DAY = dailyQuota({ limit: 5 });
const NOON = Date.UTC(2025, 5, 15, 12);

describe('memoryStore with a journal', () => {
  let directory: string;
  let open: MemoryStore[] = [];

  beforeEach(() => {
    directory = join(mkdtempSync(join(tmpdir(), 'gatewarden-')), 'limits');
  });

  afterEach(async () => {
    for (const store of open) store.close();
    open = [];
    await rm(join(directory, '..'), { recursive: true, maxRetries: 20, retryDelay: 20 });
  });

  function start(options: { sync?: 'each' | 'turn'; now?: () => number } = {}): MemoryStore {
    const { now, sync } = options;
    const store = memoryStore({ journal: { directory, sync }, now });
    open.push(store);
    return store;
  }

  it('remembers a window, a day, what was corrected and what is held', () => {
    const gpu = gpuTime({ limit: '10s', window: '1h', estimate: '3s', lease: '30s' });
    const slots = concurrency({ limit: 3, lease: '30s' });
    const policies = [MINUTE, DAY, gpu, slots];
    const keys = ['key', 'key', 'key', 'all'];
    let now = NOON;
    const first = start({ now: () => now });
    const one = first.admit(policies, keys, [1, 2, 3000, 1]);
    const two = first.admit(policies, keys, [1, 1, 3000, 1]);
    if (one.kind !== 'admitted' || two.kind !== 'admitted') throw new Error('refused');
    now += 1000;
    first.settle(one.receipt, [undefined, 0, 1234, 0]);
    const before = first.peek(policies, keys);
    expect(before.map(({ remaining }) => remaining)).toEqual([3, 4, 10_000 - 1234 - 3000, 2]);
    first.close();

    const second = start({ now: () => now });
    expect(second.peek(policies, keys)).toEqual(before);
    expect(second.size).toBe(4);
    now += 29_000;
    expect(second.peek([slots], ['all'])).toMatchObject([{ remaining: 3 }]);
    expect(readdirSync(directory).filter((name) => name.endsWith('.journal')).length).toBeLessThanOrEqual(3);
  });

  it('does not write windows of one second and less', () => {
    const policies = (['1s', '1001ms'] as const).map((window) => slidingWindow({ limit: 5, window }));
    const keys = ['key', 'key'];
    const first = start({ now: () => NOON });
    first.admit(policies, keys, [1, 1]);
    first.close();
    expect(start({ now: () => NOON }).peek(policies, keys)).toMatchObject([{ remaining: 5 }, { remaining: 4 }]);
  });

  it('remembers with the clock of the system', () => {
    const first = start();
    first.admit([MINUTE, DAY], ['a', 'b'], [2, 3]);
    const before = first.peek([MINUTE, DAY], ['a', 'b']);
    first.close();
    const after = start().peek([MINUTE, DAY], ['a', 'b']);
    expect(after.map(({ remaining }) => remaining)).toEqual([3, 2]);
    expect(Math.abs((after[0]?.resetAt ?? 0) - (before[0]?.resetAt ?? 0))).toBeLessThan(200);
  });
});
