import * as fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { JournalEvent } from '../../../../src/limit/memory/journal/journal-events.js';
import { JournaledStore } from '../../../../src/limit/memory/journal/journaled-store.js';
import { nodeModules } from '../../../../src/limit/memory/journal/node-modules.js';
import { GivenClock } from '../../../../src/limit/memory/store-clock.js';
import { concurrency, slidingWindow } from '../../../../src/limit/policy.js';
import { QUICK } from './reopening-store.js';
import { useScratch } from './scratch.js';

const NOON = Date.UTC(2025, 5, 15, 12);
const DAY_LONG = slidingWindow({ limit: 1_000_000, window: '24h' });

const newDirectory = useScratch();
let stores: JournaledStore[] = [];

afterEach(() => {
  vi.restoreAllMocks();
  for (const store of stores) store.close();
  stores = [];
});

interface Opening {
  readonly directory: string;
  readonly sync?: 'each' | 'turn';
  readonly now?: () => number;
  readonly onEvent?: (event: JournalEvent) => void;
  /** Functions that replace those of `node:fs`. */
  readonly files?: object;
  readonly smallestFile?: number;
}

function open(opening: Opening): JournaledStore {
  const { directory, sync = 'each', now = () => NOON, onEvent, files = {}, smallestFile = 8192 } = opening;
  const modules = nodeModules();
  const quick = { ...QUICK.modules?.fs, ...files } as typeof fs;
  const internals = { modules: { ...modules, fs: quick }, longestUnwritten: 0, smallestFile };
  const store = new JournaledStore(
    100_000,
    new GivenClock(now),
    true,
    { directory, sync, mode: 'refuse', onEvent },
    internals,
  );
  stores.push(store);
  return store;
}

describe('a copy of the counters', () => {
  it('has the last token of a counter that it leaves out', async () => {
    const directory = newDirectory();
    let now = NOON;
    const slots = concurrency({ limit: 1, lease: '1s' });
    const tokenOf = (store: JournaledStore): number => {
      const decision = store.admit([slots], ['key'], [1]);
      if (decision.kind !== 'admitted') throw new Error('refused');
      store.release(decision.receipt);
      return decision.holds[0]?.token ?? 0;
    };
    const first = open({ directory, now: () => now });
    const token = tokenOf(first);
    first.close();
    now += 60_000;
    // Each start copies the counters, so that the first file is soon gone.
    for (let i = 0; i < 20 && fs.existsSync(join(directory, '0000000001.journal')); i++) {
      const store = open({ directory, now: () => now });
      await sleep(20);
      store.close();
    }
    await vi.waitFor(() => expect(fs.existsSync(join(directory, '0000000001.journal'))).toBe(false));
    now -= 3_600_000;
    expect(tokenOf(open({ directory, now: () => now }))).toBeGreaterThan(token);
  });
});

describe('processes that always end at once', () => {
  it('leave no more than a few files', () => {
    const directory = newDirectory();
    for (let i = 0; i < 40; i++) {
      const store = open({ directory });
      store.admit([DAY_LONG], ['key'], [1]);
      store.close();
      // What would be removed in the background is not, since the process has ended.
      expect(fs.readdirSync(directory).filter((name) => name.endsWith('.journal')).length).toBeLessThan(12);
    }
    expect(open({ directory }).peek([DAY_LONG], ['key'])[0]?.remaining).toBe(1_000_000 - 40);
  });
});

describe('a process that ends while it prepares its next file', () => {
  it('leaves the files of the next process as they are', async () => {
    const directory = newDirectory();
    const delayed = (ms: number) => {
      const slowly = async (path: string, flags: string, mode: number) => {
        await sleep(ms);
        return fs.promises.open(path, flags, mode);
      };
      return { promises: { ...fs.promises, open: slowly } };
    };
    const first = open({ directory, files: delayed(30) });
    // Half of the first file.
    for (let i = 0; i < 120; i++) first.admit([DAY_LONG], ['key'], [1]);
    first.close();
    // Its first file has the number that the first one gave to its second.
    const second = open({ directory, files: delayed(500) });
    for (let i = 0; i < 5; i++) second.admit([DAY_LONG], ['key'], [1]);
    await sleep(100);
    second.close();
    expect(open({ directory }).peek([DAY_LONG], ['key'])[0]?.remaining).toBe(1_000_000 - 125);
  });
});

describe('a journal without room for its next file', () => {
  it('leaves nothing of it behind, and does not try again at every write', async () => {
    let tries = 0;
    const promises = {
      ...fs.promises,
      open: async (path: string, ...rest: [string, number]) => {
        const handle = await fs.promises.open(path, ...rest);
        if (!path.endsWith('.new')) return handle;
        tries++;
        const write = async (bytes: Buffer, from: number, length: number, at: number) => {
          if (at > 0) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
          return handle.write(bytes, from, length, at);
        };
        return { write, datasync: () => handle.datasync(), close: () => handle.close() };
      },
    };
    const directory = newDirectory();
    const store = open({ directory, files: { promises } });
    for (let i = 0; i < 600; i++) {
      store.admit([DAY_LONG], ['key'], [1]);
      if (i % 10 === 0) await sleep(1);
    }
    await vi.waitFor(() =>
      expect(fs.readdirSync(directory).sort()).toEqual(['0000000001.journal', '1.lock', 'newest']),
    );
    expect(tries).toBeGreaterThan(0);
    expect(tries).toBeLessThan(5);
    expect(store.peek([DAY_LONG], ['key'])[0]?.remaining).toBe(1_000_000 - 600);
  });
});

describe('a process that stood still while another took its directory', () => {
  it.each(['each', 'turn'] as const)("admits nothing after that, with sync: '%s'", (sync) => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    // Without /proc, so that the second one cannot look up the first.
    const readFileSync = (path: string, ...rest: ['utf8']) => {
      if (String(path).startsWith('/proc')) throw new Error('ENOENT');
      return fs.readFileSync(path, ...rest);
    };
    const directory = newDirectory();
    const events: JournalEvent[] = [];
    const files = { readFileSync };
    const first = open({ directory, sync, files, smallestFile: 1 << 20, onEvent: (event) => events.push(event) });
    const held = first.admit([DAY_LONG], ['key'], [5]);
    if (held.kind !== 'admitted') throw new Error('refused');
    if (sync === 'turn') first.admit([DAY_LONG], ['key'], [1]);
    // Waits three seconds, in which the timers of the first one stand still as well.
    const second = open({ directory, files, smallestFile: 1 << 20 });
    second.admit([DAY_LONG], ['key'], [2]);
    for (let i = 0; i < 3; i++) expect(() => first.admit([DAY_LONG], ['key'], [1])).toThrow('cannot be written');
    first.settle(held.receipt, [1]);
    expect(events).toMatchObject([
      { kind: 'unavailable', error: { message: 'another process has taken the directory' } },
    ]);
    first.close();
    second.close();
    const used = open({ directory, files }).peek([DAY_LONG], ['key'])[0]?.remaining;
    // What the first one had not written in its last turn is lost with it.
    expect(used).toBe(1_000_000 - (sync === 'each' ? 7 : 2));
  });
});

describe('a policy that is made for each request', () => {
  it('is declared once, also with limits that change', () => {
    const directory = newDirectory();
    const store = open({ directory, smallestFile: 1 << 20 });
    const file = join(directory, '0000000001.journal');
    const limits = [50, 1000, 100_000];
    for (let i = 0; i < 30; i++) {
      store.admit([slidingWindow({ limit: limits[i % 3] as number, window: '24h' })], ['key'], [1]);
    }
    expect(fs.readFileSync(file, 'latin1').split('sliding-window').length - 1).toBe(1);
    const before = store.peek([DAY_LONG], ['key']);
    expect(before[0]?.remaining).toBe(1_000_000 - 30);
    store.close();
    expect(open({ directory }).peek([DAY_LONG], ['key'])).toEqual(before);
  });
});
