import * as fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { JournalEvent } from '../../../../src/limit/memory/journal/journal-events.js';
import { JournaledStore } from '../../../../src/limit/memory/journal/journaled-store.js';
import { nodeModules } from '../../../../src/limit/memory/journal/node-modules.js';
import { GivenClock } from '../../../../src/limit/memory/store-clock.js';
import { dailyQuota } from '../../../../src/limit/policy.js';
import { QUICK, SCRATCH } from './reopening-store.js';

const NOON = Date.UTC(2025, 5, 15, 12);
const DAY = dailyQuota({ limit: 1_000_000 });
/** Longer than the store waits before it tries again. */
const TRY_AGAIN = 120;

const folder = fs.mkdtempSync(join(SCRATCH, 'gatewarden-'));
let count = 0;
let stores: JournaledStore[] = [];
let events: JournalEvent[] = [];

beforeEach(() => {
  events = [];
  vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
});
afterEach(() => {
  for (const store of stores) store.close();
  stores = [];
  vi.restoreAllMocks();
});
afterAll(() => fs.promises.rm(folder, { recursive: true, maxRetries: 20, retryDelay: 20 }));

/** A disk on which writes of some sizes fail, and what waits for it may fail. */
function disk() {
  const fails = { from: Number.POSITIVE_INFINITY, sync: false, syncsLeft: Number.POSITIVE_INFINITY, count: 0 };
  const full = () => Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  const modules = nodeModules();
  const writeSync = (descriptor: number, bytes: Buffer, from: number, length: number, at: number) => {
    // Not the zeros with which a file is filled.
    if (bytes[0] !== 0 && length >= fails.from) {
      fails.count++;
      throw full();
    }
    return fs.writeSync(descriptor, bytes, from, length, at);
  };
  const fdatasyncSync = () => {
    if (fails.sync) throw full();
  };
  const fdatasync = (_descriptor: number, done: (error: Error | null) => void) => {
    setImmediate(done, fails.sync || --fails.syncsLeft < 0 ? full() : null);
  };
  const files = { ...QUICK.modules?.fs, writeSync, fdatasyncSync, fdatasync } as unknown as typeof fs;
  return { fails, modules: { ...modules, fs: files } };
}

function open(directory: string, modules?: ReturnType<typeof nodeModules>): JournaledStore {
  const internals = modules === undefined ? QUICK : { ...QUICK, modules };
  const settings = {
    directory,
    sync: 'each',
    mode: 'local',
    onEvent: (event: JournalEvent) => events.push(event),
  } as const;
  const store = new JournaledStore(100_000, new GivenClock(() => NOON), true, settings, internals);
  stores.push(store);
  return store;
}

const newDirectory = () => join(folder, String(count++));
const kinds = () => events.map(({ kind }) => kind);
const used = (store: JournaledStore) => DAY.limit - (store.peek([DAY], ['key'])[0]?.remaining ?? 0);
/** More than a journal keeps waiting, so that it has to write all counters to a new file. */
const MANY = 40_000;

describe('onEvent', () => {
  it('is not called with `available` before all counters are written to a new file', async () => {
    const { fails, modules } = disk();
    const directory = newDirectory();
    const store = open(directory, modules);
    for (let i = 0; i < 20; i++) store.admit([DAY], [`other ${i}`], [1]);
    fails.from = 0;
    const start = performance.now();
    for (let i = 0; i < MANY; i++) store.admit([DAY], ['key'], [1]);
    expect(kinds()).toEqual(['unavailable']);
    // At most ten times a second, and not with each of the requests.
    expect(fails.count).toBeLessThanOrEqual(2 + (performance.now() - start) / 100);
    // What says which time it is can be written, and the counters cannot.
    fails.from = 300;
    for (let i = 0; i < 3; i++) {
      await sleep(TRY_AGAIN);
      store.admit([DAY], ['key'], [1]);
      expect(kinds()).toEqual(['unavailable']);
    }
    fails.from = Number.POSITIVE_INFINITY;
    await sleep(TRY_AGAIN);
    store.admit([DAY], ['key'], [1]);
    expect(kinds()).toEqual(['unavailable', 'available']);
    // What waited was too much to be kept, so that all counters are in a new file.
    expect(fs.readdirSync(directory)).not.toContain('0000000001.journal');
    store.close();
    expect(used(open(directory))).toBe(MANY + 4);
  });

  it('writes at its end what waits, also if that has to be in a new file', () => {
    const { fails, modules } = disk();
    const directory = newDirectory();
    const store = open(directory, modules);
    fails.from = 0;
    for (let i = 0; i < MANY; i++) store.admit([DAY], ['key'], [1]);
    fails.from = Number.POSITIVE_INFINITY;
    store.close();
    expect(used(open(directory))).toBe(MANY);
  });

  it('is called if the disk fails in the background, and the counters are written to a new file', async () => {
    const { fails, modules } = disk();
    const directory = newDirectory();
    const store = open(directory, modules);
    store.admit([DAY], ['key'], [1]);
    fails.sync = true;
    // It asks the system every second to bring all to the disk.
    await vi.waitFor(() => expect(kinds()).toEqual(['unavailable']), { timeout: 5000 });
    fails.sync = false;
    await sleep(TRY_AGAIN);
    store.admit([DAY], ['key'], [1]);
    expect(kinds()).toEqual(['unavailable', 'available']);
    expect(fs.readdirSync(directory)).toContain('0000000002.journal');
    // It is not needed any more, now that the disk may have lost what was in it.
    expect(fs.readdirSync(directory)).not.toContain('0000000001.journal');
    store.close();
    expect(used(open(directory))).toBe(2);
  });

  it('is called if the disk fails while counters are copied, and the former file stays until they are', async () => {
    const directory = newDirectory();
    const first = open(directory);
    first.admit([DAY], ['key'], [1]);
    first.close();
    const { fails, modules } = disk();
    const former = join(directory, '0000000001.journal');
    const store = open(directory, modules);
    store.admit([DAY], ['key'], [1]);
    // The end of the file before the one with the copy, and then no more.
    fails.syncsLeft = 1;
    await vi.waitFor(() => expect(kinds()).toEqual(['unavailable']), { timeout: 5000 });
    fails.sync = true;
    await sleep(2 * TRY_AGAIN);
    expect(fs.existsSync(former)).toBe(true);
    fails.sync = false;
    fails.syncsLeft = Number.POSITIVE_INFINITY;
    await vi.waitFor(() => expect(kinds()).toEqual(['unavailable', 'available']), { timeout: 5000 });
    expect(fs.existsSync(former)).toBe(false);
    store.close();
    expect(used(open(directory))).toBe(2);
  });

  it('is called with `cut` also if the start that has cut the file fails later', () => {
    const directory = newDirectory();
    // So many files that the next start writes all counters to one.
    for (let i = 0; i < 9; i++) {
      const store = open(directory);
      store.admit([DAY], ['key'], [1]);
      if (i < 8) store.close();
    }
    const left = newDirectory();
    fs.cpSync(directory, left, { recursive: true, filter: (path) => !path.endsWith('lock') });
    const newest = fs
      .readdirSync(left)
      .filter((name) => name.endsWith('.journal'))
      .sort()
      .at(-1) as string;
    const bytes = fs.readFileSync(join(left, newest));
    let end = bytes.length;
    while (bytes[end - 1] === 0) end--;
    fs.writeFileSync(join(left, newest), bytes.fill(0, end - 20));
    const { fails, modules } = disk();
    events = [];
    const sync = modules.fs.fdatasyncSync;
    let syncs = 0;
    const failing = {
      ...modules,
      fs: {
        ...modules.fs,
        fdatasyncSync: (descriptor: number) => {
          // The first file, then the end of the one that was cut, and then all counters.
          fails.sync = ++syncs > 2;
          sync(descriptor);
        },
      } as unknown as typeof fs,
    };
    expect(() => open(left, failing)).toThrow('ENOSPC');
    expect(kinds()).toContain('cut');
  });
});

describe('a start that fails late', () => {
  it('leaves no timer and no open file', async () => {
    const directory = newDirectory();
    for (let i = 0; i < 9; i++) {
      const store = open(directory);
      for (let n = 0; n < 20; n++) store.admit([DAY], [`key ${n}`], [1]);
      store.close();
    }
    const { fails, modules } = disk();
    const opened = new Set<number>();
    const counting = {
      ...modules.fs,
      openSync: (...args: Parameters<typeof fs.openSync>) => {
        const descriptor = fs.openSync(...args);
        opened.add(descriptor);
        return descriptor;
      },
      closeSync: (descriptor: number) => {
        opened.delete(descriptor);
        fs.closeSync(descriptor);
      },
    } as unknown as typeof fs;
    fails.from = 300;
    const timers = vi.spyOn(globalThis, 'setInterval');
    const cleared = vi.spyOn(globalThis, 'clearInterval');
    expect(() => open(directory, { ...modules, fs: counting })).toThrow('cannot be written');
    expect(opened.size).toBe(0);
    expect(cleared.mock.calls.length).toBe(timers.mock.calls.length);
  });
});
