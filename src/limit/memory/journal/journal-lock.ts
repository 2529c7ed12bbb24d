import { StoreError } from '../../store.js';
import { isRunning, type ProcessIdentity, thisProcess } from './machine.js';
import type { NodeModules } from './node-modules.js';

const NAME = /^[1-9]\d{0,14}\.lock$/;
/** What stands in a lock that was released. */
const RELEASED = 'released';
/** How often the holder touches the lock, in milliseconds. */
export const TOUCH = 1000;
/** A lock that is not touched for so long, and whose holder cannot be looked up, is one of a process that has ended. */
const WATCH = 3 * TOUCH;
const LOOK_EVERY = 100;
/** A lock that was touched within this time cannot have been taken. Less than WATCH. */
const SURE = WATCH - TOUCH;

/**
 * Keeps a second process out of a directory. Node has no locks of the operating system, so a file names the process that
 * holds it. If that process ended without releasing it, that is recognized by its number and its start, or, from another container or
 * without /proc, by a lock that is not touched any more.
 *
 * Each lock is a new file, with the next number, which only one process can make. The one with the highest number counts. It
 * is only removed when there is a higher one, so that a process that was slow never takes a number that is over.
 */
export class JournalLock {
  readonly #fs: NodeModules['fs'];
  readonly #descriptor: number;
  #isReleased = false;
  /** By `performance.now()`. */
  #touchedAt = performance.now();

  /** @throws StoreError if another process, or another store of this one, has the directory */
  constructor(modules: NodeModules, directory: string) {
    this.#fs = modules.fs;
    this.#descriptor = take(modules, directory);
  }

  /**
   * Whether this process still has the lock. Looks only if it has not touched the lock for long, as after it was stopped or
   * stood still: another one may have taken it for dead.
   */
  isHeld(): boolean {
    return performance.now() - this.#touchedAt < SURE || this.touch();
  }

  /** Shows that the holder lives. Returns false if another process has taken the lock, which took this one for dead. */
  touch(): boolean {
    const fs = this.#fs;
    const at = performance.now();
    const now = new Date();
    try {
      if (fs.fstatSync(this.#descriptor).nlink === 0) return false;
      fs.futimesSync(this.#descriptor, now, now);
      this.#touchedAt = at;
    } catch {
      // A disk that cannot be written is noticed where it matters.
    }
    return true;
  }

  /** Leaves the directory to the next process. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    release(this.#fs, this.#descriptor);
  }
}

/** Makes the lock with the next number. Returns its descriptor. */
function take(modules: NodeModules, directory: string): number {
  const { fs, path } = modules;
  const pathOf = (number: number): string => path.join(directory, `${number}.lock`);
  const text = JSON.stringify(thisProcess(modules));
  for (;;) {
    const newest = Math.max(0, ...locks(modules, directory));
    if (newest > 0 && isAlive(modules, pathOf(newest))) throw held(modules, directory, pathOf(newest));
    const descriptor = create(modules, pathOf(newest + 1), text);
    if (descriptor === undefined) continue;
    const numbers = locks(modules, directory);
    if (Math.max(...numbers) > newest + 1) {
      // Others took this number and the next before, and have removed it.
      fs.closeSync(descriptor);
      fs.rmSync(pathOf(newest + 1), { force: true });
      continue;
    }
    try {
      for (const number of numbers) if (number <= newest) fs.rmSync(pathOf(number), { force: true });
      return descriptor;
    } catch (error) {
      release(fs, descriptor);
      throw error;
    }
  }
}

function release(fs: NodeModules['fs'], descriptor: number): void {
  try {
    // A lock that was taken over has no name any more.
    fs.ftruncateSync(descriptor);
    fs.writeSync(descriptor, RELEASED, 0);
  } catch {
    // The next process sees that this one has ended.
  }
  fs.closeSync(descriptor);
}

/** The numbers of all locks in a directory. */
function locks({ fs }: NodeModules, directory: string): number[] {
  const names = fs.readdirSync(directory).filter((name) => NAME.test(name));
  return names.map((name) => Number.parseInt(name, 10));
}

/** Creates a file that does not exist. Returns undefined if it does. */
function create({ fs }: NodeModules, path: string, text: string): number | undefined {
  let descriptor: number;
  try {
    descriptor = fs.openSync(path, 'wx', 0o600);
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return undefined;
    throw error;
  }
  try {
    fs.writeSync(descriptor, text);
  } catch (error) {
    fs.closeSync(descriptor);
    fs.rmSync(path, { force: true });
    throw error;
  }
  return descriptor;
}

/** Whether the process that a lock names still runs. Waits if that can only be seen from whether it touches the lock. */
function isAlive(modules: NodeModules, path: string): boolean {
  const text = textOf(modules, path);
  if (text === RELEASED) return false;
  const holder = holderOf(text);
  const known = holder === undefined ? undefined : isRunning(modules, holder);
  if (known !== undefined) return known;
  const before = touchedAt(modules, path);
  for (let waited = 0; waited < WATCH; waited += LOOK_EVERY) {
    if (before === undefined) return false;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_EVERY);
    const after = touchedAt(modules, path);
    if (after !== before) return after !== undefined;
  }
  return false;
}

function textOf({ fs }: NodeModules, path: string): string {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch {
    // Another process has taken it over.
    return '';
  }
}

/** The process that a lock names. Undefined if its text is not complete, since a crash has left it empty. */
function holderOf(text: string): ProcessIdentity | undefined {
  try {
    const holder: unknown = JSON.parse(text);
    return isIdentity(holder) ? holder : undefined;
  } catch {
    return undefined;
  }
}

function isIdentity(value: unknown): value is ProcessIdentity {
  if (typeof value !== 'object' || value === null || !('pid' in value) || !Number.isInteger(value.pid)) return false;
  const texts: Record<string, unknown> = { ...value };
  return ['began', 'namespace', 'boot', 'host'].every((name) => typeof texts[name] === 'string');
}

function touchedAt({ fs }: NodeModules, path: string): number | undefined {
  try {
    const { mtimeMs, ino } = fs.statSync(path);
    // The number as well: a lock that was released and taken again is another file.
    return mtimeMs + ino * 1e-4;
  } catch {
    return undefined;
  }
}

function held(modules: NodeModules, directory: string, path: string): StoreError {
  const holder = holderOf(textOf(modules, path));
  const who = holder === undefined ? 'another process' : `process ${holder.pid}`;
  return new StoreError(
    'GATEWARDEN_STORE_LOCKED',
    `memoryStore "journal" has the directory ${directory} in use by ${who}; a journal belongs to one store, so give each ` +
      'process a directory of its own, or share a Redis',
  );
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
