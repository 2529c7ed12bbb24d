import { OptionError } from '../../../core/option.js';
import type { QuotaPolicy } from '../../policy.js';
import { StoreError } from '../../store.js';
import type { CounterTable } from '../counter-table.js';
import type { StoreClock } from '../store-clock.js';
import { addMark } from './change-records.js';
import { CounterJournal } from './counter-journal.js';
import type { FileHeader } from './file-header.js';
import { FrameBuffer } from './frame-buffer.js';
import { eventReporter } from './journal-events.js';
import { JournalFile } from './journal-file.js';
import { type FoundFile, fileName, findFiles, JOURNAL_NAME, UNFINISHED } from './journal-files.js';
import { JournalLock } from './journal-lock.js';
import type { JournalSettings } from './journal-options.js';
import { JournalWriter } from './journal-writer.js';
import { bootOf, uptimeOf } from './machine.js';
import { type NodeModules, nodeModules } from './node-modules.js';
import { shiftsOf } from './passed-time.js';
import { CLOSED } from './record-kinds.js';
import { Replay } from './replay.js';

/** A process that is stopped again and again leaves a file each time. From here on, one takes the place of all at once. */
const MOST_FILES = 8;
/** The longest window that is not written, in milliseconds: a process takes about as long to start. */
const LONGEST_UNWRITTEN = 1000;
const SMALLEST_FILE = 4 * 1024 * 1024;
/** The most room for changes in a file, behind the counters that are copied to it. */
const MOST_ROOM = 0x2000_0000;
const LARGEST_SIZE = 0xe000_0000;

/** What tests change. */
export interface JournalInternals {
  readonly modules?: NodeModules | undefined;
  readonly longestUnwritten?: number | undefined;
  readonly smallestFile?: number | undefined;
  readonly mostRoom?: number | undefined;
}

/** A store whose counters are journaled. */
export interface JournaledCounters {
  readonly clock: StoreClock;
  readonly isClockGiven: boolean;
  readonly tables: ReadonlyMap<string, CounterTable>;
  tableOf(policy: QuotaPolicy): CounterTable;
}

/** An open journal. */
export interface OpenJournal {
  readonly journal: CounterJournal;
  readonly writer: JournalWriter;
}

/**
 * Opens the journal in a directory, and brings the counters to where it says that they were.
 * @throws OptionError for a directory that cannot be used
 * @throws StoreError if another process has it, or its files are damaged
 */
export function openJournal(
  settings: JournalSettings,
  counters: JournaledCounters,
  internals: JournalInternals,
): OpenJournal {
  const modules = internals.modules ?? nodeModules();
  const directory = modules.path.resolve(settings.directory);
  let lock: JournalLock | undefined;
  try {
    modules.fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    lock = new JournalLock(modules, directory);
    return open(modules, directory, lock, settings, counters, internals);
  } catch (error) {
    lock?.release();
    if (error instanceof StoreError || !(error instanceof Error && 'code' in error)) throw error;
    throw new OptionError(`gatewarden: memoryStore "journal" cannot use the directory ${directory}: ${error.message}`);
  }
}

function open(
  modules: NodeModules,
  directory: string,
  lock: JournalLock,
  { sync, onEvent }: JournalSettings,
  { clock, isClockGiven, tables, tableOf }: JournaledCounters,
  { longestUnwritten = LONGEST_UNWRITTEN, smallestFile = SMALLEST_FILE, mostRoom = MOST_ROOM }: JournalInternals,
): OpenJournal {
  removeUnfinished(modules, directory);
  const boot = bootOf(modules);
  const files = findFiles(modules, directory, boot);
  clock.read();
  const shifts = shiftsOf(files, { clock, uptime: uptimeOf(modules), boot }, isClockGiven);
  const replay = new Replay(tableOf);
  files.forEach((file, i) => {
    replay.apply(file, shifts[i] as number);
  });
  replay.finish();

  const report = eventReporter(onEvent);
  const newest = files.at(-1);
  const index = (newest?.header.index ?? 0) + 1;
  let base = files[0]?.header.index ?? index;
  const journal = newest?.header.journal ?? randomHex(16);
  // Behind the copies, most of a log is charges that the next copy holds together, in a few bytes each.
  let copied = files.reduce((sum, file) => sum + file.copied + (file.end - file.copied) / 4, 0);
  const headerOf = (number: number, size: number, shift: number): FileHeader => ({
    journal,
    index: number,
    base,
    size: Math.min(LARGEST_SIZE, Math.max(smallestFile, Math.ceil(size))),
    shift,
    nonce: Number.parseInt(randomHex(4), 16),
    isClockGiven,
    boot,
  });
  const isCrowded = files.length > MOST_FILES;
  const sizeFor = (bytes: number) => bytes + Math.min(bytes, mostRoom) + smallestFile;
  const nextHeader = (after: JournalFile) => headerOf(after.header.index + 1, sizeFor(copied), 0);
  const first = headerOf(index, isCrowded ? sizeFor(copied) : smallestFile, shifts.at(-1) ?? 0);
  const writer = new JournalWriter(
    {
      modules,
      lock,
      clock,
      sync,
      report,
      nextFile: (after, isWanted) => JournalFile.prepare(modules, directory, nextHeader(after), isWanted),
      nextFileNow: (after) => JournalFile.create(modules, directory, nextHeader(after)),
      copied: (file) => {
        copied = file.end;
      },
      removeBefore: (file, isNow) => {
        base = file.header.index;
        if (isNow) removeBeforeNow(modules, directory, base);
        else removeBefore(modules, directory, base);
      },
    },
    JournalFile.create(modules, directory, first),
  );
  try {
    const counterJournal = new CounterJournal(writer, tables, longestUnwritten);
    counterJournal.takeOver(replay);
    for (const file of files) {
      const { path, end, lost } = file;
      // Before it is finished, after which nothing shows it any more.
      if (lost > 0) report({ kind: 'cut', file: path, offset: end, lost });
      finishFile(modules, file, file === newest, writer);
    }
    if (isCrowded) counterJournal.copyNow();
    else if (newest !== undefined) writer.prepareNext(true);
    return { journal: counterJournal, writer };
  } catch (error) {
    writer.close();
    throw error;
  }
}

/** Writes the end of a file that has none, so that what is behind it is not read again. */
function finishFile(modules: NodeModules, file: FoundFile, isNewest: boolean, writer: JournalWriter): void {
  const { path, header, end, frames, lost, isClosed, time } = file;
  if (isClosed || (!isNewest && lost === 0)) return;
  const { fs } = modules;
  const buffer = new FrameBuffer(modules.zlib.crc32);
  addMark(buffer, CLOSED);
  buffer.seal(header.nonce, end, frames, time ?? 0);
  const descriptor = fs.openSync(path, 'r+');
  try {
    fs.writeSync(descriptor, buffer.bytes, 0, buffer.length, end);
    fs.fdatasyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
  writer.sealed(header.index, end + buffer.length);
}

function removeUnfinished({ fs, path }: NodeModules, directory: string): void {
  for (const name of fs.readdirSync(directory)) {
    if (name.endsWith(UNFINISHED)) fs.rmSync(path.join(directory, name), { force: true });
  }
}

/** The files before one that has all counters. */
function filesBefore({ path }: NodeModules, directory: string, index: number, names: readonly string[]): string[] {
  const former = names.filter((name) => JOURNAL_NAME.test(name) && name < fileName(index));
  return former.map((name) => path.join(directory, name));
}

/** A file that stays is not read, and is removed the next time. */
function removeBefore(modules: NodeModules, directory: string, index: number): void {
  const { fs } = modules;
  fs.readdir(directory, (_error, names: readonly string[] = []) => {
    for (const path of filesBefore(modules, directory, index, names)) fs.unlink(path, () => undefined);
  });
}

/** The same at once: a process that always ends soon after its start would otherwise leave more and more files. */
function removeBeforeNow(modules: NodeModules, directory: string, index: number): void {
  const { fs } = modules;
  for (const path of filesBefore(modules, directory, index, fs.readdirSync(directory)))
    fs.rmSync(path, { force: true });
}

function randomHex(bytes: number): string {
  const random = globalThis.crypto.getRandomValues(new Uint8Array(bytes));
  return Buffer.from(random).toString('hex');
}
