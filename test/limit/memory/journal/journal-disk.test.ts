import * as fs from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { JournalEvent } from '../../../../src/limit/memory/journal/journal-events.js';
import type { OnJournalFailure } from '../../../../src/limit/memory/journal/journal-options.js';
import { JournaledStore } from '../../../../src/limit/memory/journal/journaled-store.js';
import { nodeModules } from '../../../../src/limit/memory/journal/node-modules.js';
import { GivenClock } from '../../../../src/limit/memory/store-clock.js';
import { concurrency, dailyQuota, slidingWindow } from '../../../../src/limit/policy.js';
import { StoreError } from '../../../../src/limit/store.js';
import { QUICK } from './reopening-store.js';
import { useScratch } from './scratch.js';

/** How often the power fails. `npm run test:long` asks for more. */
const CUTS = Number(process.env.PROPERTY_RUNS ?? 50);
const NOON = Date.UTC(2025, 5, 15, 12);
const WINDOW = slidingWindow({ limit: 500, window: '1h' });
const DAY = dailyQuota({ limit: 1_000_000 });

/** Where a file says how many bytes it has. */
const SIZE_IN_HEADER = 48;

const newDirectory = useScratch();
let stores: JournaledStore[] = [];

afterEach(() => {
  for (const store of stores) store.close();
  stores = [];
});

interface Opening {
  readonly directory: string;
  readonly sync?: 'each' | 'turn';
  readonly mode?: OnJournalFailure;
  readonly onEvent?: (event: JournalEvent) => void;
  readonly modules?: ReturnType<typeof nodeModules>;
}

function open({ directory, sync = 'each', mode = 'refuse', onEvent, modules }: Opening): JournaledStore {
  const internals = modules === undefined ? QUICK : { ...QUICK, modules };
  const store = new JournaledStore(
    100_000,
    new GivenClock(() => NOON),
    true,
    { directory, sync, mode, onEvent },
    internals,
  );
  stores.push(store);
  return store;
}

const journalFiles = (directory: string) => fs.readdirSync(directory).filter((name) => name.endsWith('.journal'));
const usedOf = (store: JournaledStore, key: string) =>
  store.peek([DAY], [key]).map(({ limit, remaining }) => limit - remaining)[0];

describe('a journal', () => {
  it.each(['each', 'turn'] as const)(
    "copies its counters to one file after the other, with sync: '%s'",
    async (sync) => {
      const directory = newDirectory();
      const store = open({ directory, sync });
      const keys = Array.from({ length: 300 }, (_, i) => `key ${i}`);
      for (let turn = 0; turn < 300; turn++) {
        for (let i = 0; i < 30; i++) {
          const key = keys[(turn * 7 + i) % keys.length] as string;
          const decision = store.admit([WINDOW, DAY], [key, key], [1, 1]);
          if (decision.kind !== 'admitted') throw new Error('refused');
          if (i % 6 === 0) store.settle(decision.receipt, [0, 0]);
        }
        if (turn % 5 === 0) await sleep(1);
        else await nextTurn();
      }
      const before = keys.map((key) => store.peek([WINDOW, DAY], [key, key]));
      store.close();
      const files = fs.readdirSync(directory).filter((name) => name.endsWith('.journal'));
      expect(Math.max(...files.map((name) => Number.parseInt(name, 10)))).toBeGreaterThan(2);
      const again = open({ directory, sync });
      expect(keys.map((key) => again.peek([WINDOW, DAY], [key, key]))).toEqual(before);
    },
  );

  it('gives its next file room for all counters, also in the first process after one that has copied them', async () => {
    const directory = newDirectory();
    const keys = Array.from({ length: 1000 }, (_, i) => `key ${i}`);
    for (let process = 0; process < 4; process++) {
      const store = open({ directory });
      if (process === 0) for (const key of keys) store.admit([DAY], [key], [1]);
      const copies = process > 0;
      // The files before one with a copy are removed.
      if (copies) await vi.waitFor(() => expect(journalFiles(directory)).toHaveLength(1));
      store.close();
    }
    const [file = ''] = journalFiles(directory);
    const bytes = fs.readFileSync(join(directory, file));
    // It would be larger if it had grown.
    expect(bytes.length).toBe(bytes.readDoubleLE(SIZE_IN_HEADER));
  });

  it('copies its counters once, also if they are larger than the room for changes', async () => {
    const directory = newDirectory();
    const open = () => {
      const settings = { directory, sync: 'turn', mode: 'refuse', onEvent: undefined } as const;
      const internals = { ...QUICK, smallestFile: 2048, mostRoom: 1024 };
      const store = new JournaledStore(100_000, new GivenClock(() => NOON), true, settings, internals);
      stores.push(store);
      return store;
    };
    const newest = () =>
      Math.max(0, ...fs.readdirSync(directory).map((name) => (/journal$/.test(name) ? Number.parseInt(name, 10) : 0)));
    const first = open();
    for (let i = 0; i < 1000; i++) first.admit([DAY], [`key ${i}`], [1]);
    first.close();
    const store = open();
    // It copies them to a file of its own, and then has nothing to do.
    await vi.waitFor(() => expect(newest()).toBeGreaterThan(2));
    await sleep(100);
    const before = newest();
    for (let i = 0; i < 20; i++) {
      store.admit([DAY], ['key 0'], [1]);
      await sleep(10);
    }
    expect(newest()).toBe(before);
    store.close();
    expect(usedOf(open(), 'key 0')).toBe(21);
  });

  it('keeps a second store out, until the first is closed', () => {
    const directory = newDirectory();
    const first = open({ directory });
    expect(() => open({ directory })).toThrow(StoreError);
    expect(() => open({ directory })).toThrow(`has the directory ${directory} in use by process ${process.pid}`);
    first.close();
    open({ directory });
  });

  it('takes over from a process that does not run any more, also if its number was given away again', () => {
    const directory = newDirectory();
    open({ directory }).close();
    const { fs: files } = nodeModules();
    const began = files.readFileSync('/proc/self/stat', 'latin1').split(') ')[1]?.split(' ')[19];
    const identity = {
      pid: process.pid,
      began: `${Number(began) - 1}`,
      namespace: files.readlinkSync('/proc/self/ns/pid'),
      boot: files.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim(),
      host: nodeModules().os.hostname(),
    };
    files.writeFileSync(join(directory, '2.lock'), JSON.stringify(identity));
    const start = performance.now();
    open({ directory });
    expect(performance.now() - start).toBeLessThan(2000);
  });
});

describe('a journal whose disk is full', () => {
  /** The files of the system, on a disk that is full when `isFull`. */
  function fullDisk() {
    const disk = { isFull: false };
    const modules = nodeModules();
    const real = QUICK.modules?.fs ?? modules.fs;
    const writeSync = (...args: [number, Buffer, number, number, number]) => {
      if (disk.isFull) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
      return fs.writeSync(...args);
    };
    return { disk, modules: { ...modules, fs: { ...real, writeSync } as unknown as typeof fs } };
  }

  it('refuses, charges nothing, and recovers with the disk', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const { disk, modules } = fullDisk();
    const directory = newDirectory();
    const events: string[] = [];
    const store = open({ directory, modules, onEvent: ({ kind }) => events.push(kind) });
    const slots = concurrency({ limit: 5 });
    const held = store.admit([slots, DAY], ['all', 'key'], [1, 1]);
    if (held.kind !== 'admitted') throw new Error('refused');
    disk.isFull = true;
    for (let i = 0; i < 20; i++) {
      expect(() => store.admit([slots, DAY], ['all', 'key'], [1, 1])).toThrow(
        expect.objectContaining({
          code: 'GATEWARDEN_STORE_UNAVAILABLE',
          message: 'gatewarden: memoryStore "journal" cannot be written',
        }),
      );
    }
    expect(usedOf(store, 'key')).toBe(1);
    store.release(held.receipt);
    expect(events).toEqual(['unavailable']);
    expect(process.emitWarning).toHaveBeenLastCalledWith(
      'memoryStore "journal" cannot be written: ENOSPC: no space left on device, write',
      { code: 'GATEWARDEN_JOURNAL_UNAVAILABLE' },
    );
    disk.isFull = false;
    await vi.waitFor(() => store.admit([slots, DAY], ['all', 'key'], [1, 1]), { timeout: 5000 });
    expect(events).toEqual(['unavailable', 'available']);
    store.close();
    const again = open({ directory });
    expect(usedOf(again, 'key')).toBe(2);
    expect(again.peek([slots], ['all'])).toMatchObject([{ remaining: 4 }]);
  });

  it("counts in memory with onStoreFailure: 'local', and writes it later", async () => {
    const { disk, modules } = fullDisk();
    const directory = newDirectory();
    const store = open({ directory, modules, mode: 'local' });
    disk.isFull = true;
    for (let i = 0; i < 3; i++) store.admit([DAY], ['key'], [1]);
    disk.isFull = false;
    await sleep(150);
    store.admit([DAY], ['key'], [1]);
    store.close();
    expect(usedOf(open({ directory }), 'key')).toBe(4);
  });

  it("admits without counting with onStoreFailure: 'admit', except what is held", () => {
    const { disk, modules } = fullDisk();
    const store = open({ directory: newDirectory(), modules, mode: 'admit' });
    disk.isFull = true;
    for (let i = 0; i < 3; i++) {
      expect(store.admit([DAY], ['key'], [1])).toMatchObject({ kind: 'admitted', states: [], at: NOON });
    }
    expect(usedOf(store, 'key')).toBe(0);
    expect(() => store.admit([concurrency({ limit: 5 })], ['key'], [1])).toThrow(StoreError);
  });
});

describe('a journal whose power fails', () => {
  it(
    'forgets nothing that was written before the last sync, whatever pages the disk has of what came later',
    async () => {
      vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
      const directory = newDirectory();
      const store = open({ directory });
      for (let i = 0; i < 60; i++) store.admit([DAY], ['key'], [1]);
      const file = join(directory, '0000000001.journal');
      const synced = fs.readFileSync(file);
      for (let i = 0; i < 60; i++) store.admit([DAY], ['key'], [1]);
      const later = fs.readFileSync(file);
      store.close();
      for (let run = 0; run < CUTS; run++) {
        // Pages of 512 bytes: each is as it was at the sync, or as it was when the power failed.
        const found = Buffer.from(synced);
        for (let at = 0; at < found.length; at += 512) if (Math.random() < 0.5) later.copy(found, at, at, at + 512);
        // The machine was started again since.
        const torn = newDirectory();
        fs.mkdirSync(torn);
        fs.writeFileSync(join(torn, '0000000001.journal'), found);
        const modules = { ...nodeModules(), fs: otherBoot() };
        const used = usedOf(open({ directory: torn, modules }), 'key');
        expect(used).toBeGreaterThanOrEqual(60);
        expect(used).toBeLessThanOrEqual(120);
        stores.pop()?.close();
        await fs.promises.rm(torn, { recursive: true, maxRetries: 20, retryDelay: 5 });
      }
      console.info(`${CUTS} power failures`);
    },
    15_000 + CUTS * 20,
  );

  /** The files of a machine that was started again. */
  function otherBoot(): typeof fs {
    const quick = QUICK.modules?.fs ?? fs;
    const readFileSync = (path: string, encoding: 'latin1') =>
      path.endsWith('boot_id') ? 'another start\n' : fs.readFileSync(path, encoding);
    return { ...quick, readFileSync } as unknown as typeof fs;
  }
});
