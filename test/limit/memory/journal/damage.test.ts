import * as fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import type { JournalEvent } from '../../../../src/limit/memory/journal/journal-events.js';
import { JournaledStore } from '../../../../src/limit/memory/journal/journaled-store.js';
import { nodeModules } from '../../../../src/limit/memory/journal/node-modules.js';
import { GivenClock } from '../../../../src/limit/memory/store-clock.js';
import { dailyQuota, slidingWindow } from '../../../../src/limit/policy.js';
import { StoreError } from '../../../../src/limit/store.js';
import { QUICK } from './reopening-store.js';
import { useScratch } from './scratch.js';

/** `PROPERTY_RUNS=10000` for the whole promise. */
const RUNS = Number(process.env.PROPERTY_RUNS ?? 400);
const NOON = Date.UTC(2025, 5, 15, 12);
const POLICIES = [slidingWindow({ limit: 500, window: '1h' }), dailyQuota({ limit: 500 })];
const CHARGES = 60;
const FIRST_FRAME = 256;

const newDirectory = useScratch();

function open(directory: string, onEvent?: (event: JournalEvent) => void, files?: typeof fs): JournaledStore {
  const settings = { directory, sync: 'each', mode: 'refuse', onEvent } as const;
  const internals = files === undefined ? QUICK : { ...QUICK, modules: { ...nodeModules(), fs: files } };
  return new JournaledStore(1000, new GivenClock(() => NOON), true, settings, internals);
}

const usedOf = (store: JournaledStore): number[] =>
  store.peek(POLICIES, ['key', 'key']).map(({ limit, remaining }) => limit - remaining);

/** A journal with so many charges, as a crash or `close` has left it. Returns its directory and its only file with charges. */
function written(isClosed: boolean): { directory: string; file: string } {
  const directory = newDirectory();
  const store = open(directory);
  for (let i = 0; i < CHARGES; i++) store.admit(POLICIES, ['key', 'key'], [1, 1]);
  const left = newDirectory();
  const isLeft = (path: string) => !path.endsWith('lock') && !path.endsWith('.new');
  if (!isClosed) fs.cpSync(directory, left, { recursive: true, filter: isLeft });
  store.close();
  if (isClosed) fs.cpSync(directory, left, { recursive: true, filter: isLeft });
  return { directory: left, file: join(left, '0000000001.journal') };
}

/** Where what was written ends. */
function endOf(bytes: Buffer): number {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return end;
}

describe('a journal that is damaged', () => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);

  it('is cut where its last frame is torn, and says so', () => {
    const { directory, file } = written(false);
    const bytes = fs.readFileSync(file);
    const end = endOf(bytes);
    bytes.fill(0, end - 20);
    fs.writeFileSync(file, bytes);
    const events: JournalEvent[] = [];
    const store = open(directory, (event) => events.push(event));
    expect(usedOf(store)).toEqual([CHARGES - 1, CHARGES - 1]);
    expect(events).toMatchObject([{ kind: 'cut', file }]);
    expect(process.emitWarning).toHaveBeenLastCalledWith(
      expect.stringMatching(/^memoryStore "journal": the last \d+ bytes of .* are incomplete, from byte \d+ on/),
      { code: 'GATEWARDEN_JOURNAL_CUT' },
    );
    store.close();
    // It was cut once.
    const again = open(directory, (event) => events.push(event));
    expect(usedOf(again)).toEqual([CHARGES - 1, CHARGES - 1]);
    expect(events.length).toBe(1);
    again.close();
  });

  it('stops the start if a valid record follows, and names the file and the place, each time', () => {
    const { directory, file } = written(true);
    const bytes = fs.readFileSync(file);
    const place = FIRST_FRAME + Math.floor((endOf(bytes) - FIRST_FRAME) / 2);
    bytes[place] = (bytes[place] as number) ^ 1;
    fs.writeFileSync(file, bytes);
    for (let i = 0; i < 3; i++) {
      let thrown: unknown;
      try {
        open(directory).close();
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(StoreError);
      expect(thrown).toMatchObject({ code: 'GATEWARDEN_STORE_DATA' });
      expect(String(thrown)).toContain(`${file} is damaged before a valid record at byte`);
    }
    expect(fs.readFileSync(file).equals(bytes)).toBe(true);
  });

  it('does not start with a file that was truncated, whatever of it is left, since no crash makes a file shorter', () => {
    const { directory, file } = written(false);
    const bytes = fs.readFileSync(file);
    const firstEnd = FIRST_FRAME + 24 + bytes.readUInt32LE(FIRST_FRAME);
    for (const length of [FIRST_FRAME, firstEnd, firstEnd + 9, endOf(bytes), bytes.length - 1]) {
      fs.writeFileSync(file, bytes.subarray(0, length));
      expect(() => open(directory)).toThrow(
        `${file} was truncated: it has ${length} bytes of ${bytes.length}, at byte ${length}; restore it from a backup`,
      );
      expect(fs.readFileSync(file).length).toBe(length);
    }
    fs.writeFileSync(file, bytes);
    const store = open(directory);
    expect(usedOf(store)).toEqual([CHARGES, CHARGES]);
    store.close();
  });

  it('does not start without one of its files', () => {
    const { directory } = written(true);
    // Its counters are in the first file until they were copied.
    open(directory).close();
    fs.rmSync(join(directory, '0000000001.journal'));
    expect(() => open(directory)).toThrow('0000000001.journal is missing');
  });

  it('does not start without a file between two others, nor with one of another journal in its place', () => {
    const { directory } = written(true);
    for (let i = 0; i < 3; i++) open(directory).close();
    const between = join(directory, '0000000002.journal');
    const other = written(true).directory;
    for (let i = 0; i < 3; i++) open(other).close();
    fs.cpSync(join(other, '0000000002.journal'), between);
    expect(() => open(directory)).toThrow(`${between} is of another journal`);
    fs.rmSync(between);
    expect(() => open(directory)).toThrow(`${between} is missing`);
    fs.cpSync(join(other, '0000000003.journal'), between);
    expect(() => open(directory)).toThrow(`${between} is file 3 under another name`);
  });

  it('does not start if an earlier file ends before the place that a later one names', () => {
    const { directory, file } = written(false);
    // Finishes the file of the process that was killed.
    open(directory).close();
    const bytes = fs.readFileSync(file);
    const firstEnd = FIRST_FRAME + 24 + bytes.readUInt32LE(FIRST_FRAME);
    fs.writeFileSync(file, bytes.fill(0, firstEnd));
    expect(() => open(directory)).toThrow(`${file} has lost records that it had before, at byte ${firstEnd}`);
  });

  it('stops the start after a power failure as well, if what is damaged was on the disk for good', async () => {
    const directory = newDirectory();
    const store = open(directory);
    for (let i = 0; i < CHARGES; i++) store.admit(POLICIES, ['key', 'key'], [1, 1]);
    // It asks the system every second to bring all to the disk.
    await sleep(1200);
    store.admit(POLICIES, ['key', 'key'], [1, 1]);
    const file = join(directory, '0000000001.journal');
    const bytes = fs.readFileSync(file);
    store.close();
    const left = newDirectory();
    fs.mkdirSync(left);
    const readFileSync = (path: string, encoding: 'latin1') =>
      path.endsWith('boot_id') ? 'another start\n' : fs.readFileSync(path, encoding);
    const files = { ...QUICK.modules?.fs, readFileSync } as unknown as typeof fs;
    const place = FIRST_FRAME + 1000;
    bytes[place] = (bytes[place] as number) ^ 1;
    const damagedFile = join(left, '0000000001.journal');
    fs.writeFileSync(damagedFile, bytes);
    expect(() => open(left, undefined, files)).toThrow(`${damagedFile} is damaged before a valid record`);
  });

  it.each([false, true])('does not start without its newest file, with one before it: %s', (hasFormer) => {
    const { directory } = written(true);
    if (hasFormer) open(directory).close();
    const files = fs.readdirSync(directory).filter((name) => name.endsWith('.journal'));
    const newest = join(directory, files.sort().at(-1) as string);
    fs.rmSync(newest);
    for (let i = 0; i < 3; i++) expect(() => open(directory)).toThrow(`${newest} is missing`);
  });

  it('does not start with files of another journal, nor with a note of another program', () => {
    const [first, second] = [written(true), written(true)];
    fs.cpSync(second.file, first.file);
    expect(() => open(first.directory)).toThrow(`${first.file} is of another journal`);
    const note = join(second.directory, 'newest');
    fs.writeFileSync(note, 'listen 8080;');
    expect(() => open(second.directory)).toThrow(`${note} does not name the newest file of a journal`);
    // As a power failure may leave it.
    fs.writeFileSync(note, '');
    const store = open(second.directory);
    expect(usedOf(store)).toEqual([CHARGES, CHARGES]);
    store.close();
  });

  it('does not read a file that is none of its own', () => {
    const { directory, file } = written(true);
    fs.writeFileSync(file, 'listen 8080;\n'.repeat(1000));
    expect(() => open(directory)).toThrow(`${file} is not a file of a journal, at byte 0`);
  });

  it(
    `never resets silently nor fails otherwise than with its own error, in ${RUNS} random damages`,
    async () => {
      const originals = [written(false), written(true)];
      const counts = { whole: 0, cut: 0, refused: 0 };
      for (let run = 0; run < RUNS; run++) {
        const { file } = originals[run % 2] as { file: string };
        const original = fs.readFileSync(file);
        const end = endOf(original);
        const directory = newDirectory();
        fs.mkdirSync(directory);
        const damagedFile = join(directory, '0000000001.journal');
        const damagedBytes = damage(original, end, run);
        fs.writeFileSync(damagedFile, damagedBytes);
        const events: JournalEvent[] = [];
        let used: number[] | undefined;
        try {
          const store = open(directory, (event) => events.push(event));
          used = usedOf(store);
          store.close();
        } catch (error) {
          expect(error).toBeInstanceOf(StoreError);
          expect(String(error)).toContain(`${damagedFile} `);
          expect(String(error)).toMatch(/at byte \d+/);
        }
        if (used === undefined) {
          counts.refused++;
          // Nothing was made worse.
          expect(fs.readFileSync(damagedFile).equals(damagedBytes)).toBe(true);
        } else if (events.length > 0) {
          counts.cut++;
        } else {
          counts.whole++;
          expectWhole(used, damagedBytes, original, end);
        }
        await fs.promises.rm(directory, { recursive: true, maxRetries: 20, retryDelay: 5 });
      }
      console.info(`${RUNS} damages: ${JSON.stringify(counts)}`);
      expect(counts.cut).toBeGreaterThan(0);
      expect(counts.refused).toBeGreaterThan(0);
    },
    60_000 + RUNS * 60,
  );
});

/** A start without an event: either all is there, or the file looks as if the process had been killed earlier. */
function expectWhole(used: number[], bytes: Buffer, original: Buffer, end: number): void {
  const isSame = bytes.subarray(0, end).equals(original.subarray(0, end));
  if (isSame) expect(used).toEqual([CHARGES, CHARGES]);
  else expect(bytes.subarray(endOf(bytes)).every((byte) => byte === 0)).toBe(true);
  // The two policies were always charged together.
  expect(used[0]).toBe(used[1]);
}

/** Torn, truncated, with flipped bits, with a page of zeros, or with a page of another file. */
function damage(original: Buffer, end: number, run: number): Buffer {
  const bytes = Buffer.from(original);
  const place = Math.floor(Math.random() * end);
  const length = 1 + Math.floor(Math.random() * 300);
  switch (run % 5) {
    case 0:
      return bytes.fill(0, place);
    case 1:
      return bytes.subarray(0, place);
    case 2:
      bytes[place] = (bytes[place] as number) ^ (1 << (run % 8));
      return bytes;
    case 3:
      return bytes.fill(0, place, Math.min(end, place + length));
    default:
      for (let i = place; i < Math.min(bytes.length, place + length); i++) bytes[i] = Math.floor(Math.random() * 256);
      return bytes;
  }
}
