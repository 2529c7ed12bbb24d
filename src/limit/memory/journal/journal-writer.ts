import { type StoreError, unavailable } from '../../store.js';
import { addClock, addMark, addSealed } from './change-records.js';
import { FrameBuffer } from './frame-buffer.js';
import type { JournalFile } from './journal-file.js';
import { TOUCH } from './journal-lock.js';
import { uptimeOf } from './machine.js';
import { NextFile } from './next-file.js';
import { Outage } from './outage.js';
import { CLOSED, COMPLETE } from './record-kinds.js';
import type { WriterSurroundings } from './writer-surroundings.js';

/** More than this is not kept until the disk can be written again. All counters are written then. */
const MOST_WAITING = 1 << 20;
/** Frames name places in a file with 32 bits. */
const LARGEST_FILE = 0xf000_0000;

/** Writes frames to one file after the other, and has them brought to the disk. */
export class JournalWriter {
  readonly buffer: FrameBuffer;
  file: JournalFile;
  /** Called when a file was begun: all counters have to be written to it. `isNow`: at once. */
  onNewFile: (isNow: boolean) => void = () => undefined;
  /** Whether the counters are being written to the file. No other is begun before that is done. */
  isCopying = false;
  readonly #around: WriterSurroundings;
  readonly #outage: Outage;
  /** The file cannot be relied on, or not all that has changed could be kept. */
  #mustStartAgain = false;
  isClosed = false;
  #isLost = false;
  #isScheduled = false;
  readonly #next = new NextFile();
  readonly #timer: NodeJS.Timeout;
  #isSyncing = false;
  readonly #onTurnEnd = () => {
    this.#isScheduled = false;
    this.flush();
  };

  constructor(around: WriterSurroundings, file: JournalFile) {
    this.#around = around;
    this.file = file;
    this.#outage = new Outage(around.report);
    this.buffer = new FrameBuffer(around.modules.zlib.crc32);
    this.#timer = setInterval(() => this.#everySecond(), TOUCH);
    this.#timer.unref();
    this.#markTime();
  }

  /** Writes the records that wait, or sees to it that they are written. Returns false if they cannot be. */
  commit(): boolean {
    if (this.#around.sync === 'each') return this.flush();
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      setImmediate(this.#onTurnEnd);
    }
    return this.#isOurs() && this.#outage.error === undefined;
  }

  /** Writes the records that wait, as one frame. Returns false if that fails: they go on waiting. */
  flush(): boolean {
    if (this.buffer.isEmpty || this.#outage.error === undefined) return this.#write();
    this.#boundWaiting();
    return false;
  }

  /** The error for a request, if the journal cannot be written now. Tries again from time to time. */
  failure(): StoreError | undefined {
    if (this.isClosed) return unavailable('this memoryStore was closed');
    const outage = this.#outage;
    if (outage.error === undefined) return undefined;
    if (outage.isDue) this.#tryAgain();
    return outage.error === undefined
      ? undefined
      : unavailable('memoryStore "journal" cannot be written', outage.error);
  }

  /** All counters were written to the file. Earlier ones are removed when it is on the disk for good. */
  copied(isNow: boolean): void {
    const { file } = this;
    const isWritten = this.#alone(() => addMark(this.buffer, COMPLETE));
    file.copied = file.end;
    this.isCopying = false;
    // Otherwise the earlier files stay until the next one was begun.
    if (!isWritten) return;
    this.#around.copied(file);
    if (isNow) {
      file.syncNow();
      this.#around.removeBefore(file, true);
      return;
    }
    file.sync((error) => {
      if (error !== null) this.#fail(error, true);
      else if (!this.isClosed && this.#isOurs()) this.#around.removeBefore(file, false);
    });
  }

  /** Notes that an earlier file is on the disk for good. */
  sealed(index: number, end: number): void {
    this.#alone(() => addSealed(this.buffer, index, end));
  }

  /** Has the next file made. Begins it when this one is nearly full, or as soon as it is there if it `isWanted`. */
  prepareNext(isWanted = false): void {
    if (this.isCopying || this.isClosed) return;
    if (!this.#next.isReady) {
      const isNeeded = () => !this.isClosed && this.#isOurs();
      this.#next.prepare(
        () => this.#around.nextFile(this.file, isNeeded),
        () => {
          if (this.isClosed) this.#next.close();
          else if (isWanted) this.prepareNext(true);
        },
      );
      return;
    }
    if (!isWanted && this.file.fullness < 7 / 8) return;
    // What waits needs what this file declares. Writing it may begin the next one by itself.
    const next = this.flush() ? this.#next.take() : undefined;
    if (next !== undefined) this.#begin(next, false);
  }

  close(): void {
    if (this.isClosed) return;
    clearInterval(this.#timer);
    if (this.#outage.error !== undefined) this.#tryAgain();
    this.#alone(() => addMark(this.buffer, CLOSED));
    this.isClosed = true;
    try {
      this.file.syncNow();
    } catch {
      // All was written; whether a power failure loses it is not known.
    }
    this.file.close();
    this.#next.close();
    this.#around.lock.release();
  }

  #write(): boolean {
    const { buffer, file } = this;
    if (buffer.isEmpty) return true;
    if (this.isClosed || this.#mustStartAgain || !this.#isOurs()) return false;
    const isFull = file.end + buffer.length > LARGEST_FILE;
    try {
      if (isFull) throw new Error('the file is full');
      buffer.seal(file.header.nonce, file.durable, file.frames, this.#around.clock.steady);
      file.write(buffer.bytes, buffer.length);
    } catch (error) {
      this.#fail(error, isFull);
      return false;
    }
    buffer.clear();
    if (file.fullness >= 1 / 2) this.prepareNext();
    return true;
  }

  /** Adds a record that is the first of its frame. Returns whether it was written. */
  #alone(add: () => void): boolean {
    if (!this.flush()) return false;
    add();
    return this.flush();
  }

  /** Whether no other process has taken the directory. Once it has, this one writes nothing more. */
  #isOurs(isHeld = !this.#isLost && this.#around.lock.isHeld()): boolean {
    if (isHeld && !this.#isLost) return true;
    if (!this.#isLost) {
      this.#isLost = true;
      this.#fail(new Error('another process has taken the directory'));
    }
    this.buffer.clear();
    return false;
  }

  #markTime(): void {
    const { clock, modules } = this.#around;
    clock.read();
    this.#alone(() => addClock(this.buffer, clock.steady, clock.wall, uptimeOf(modules)));
  }

  #everySecond(): void {
    if (!this.#isOurs(this.#around.lock.touch())) return;
    try {
      if (this.#outage.error !== undefined) this.#tryAgain();
      if (this.#outage.error !== undefined || this.#isSyncing || this.file.end === this.file.durable) return;
      this.#markTime();
    } catch {
      // The clock of the service. The next admission reports it.
    }
    const { file } = this;
    this.#isSyncing = true;
    file.sync((error) => {
      this.#isSyncing = false;
      // What the system could not write, it may have dropped.
      if (error !== null && file === this.file) this.#fail(error, true);
    });
  }

  #fail(error: unknown, mustStartAgain = false): void {
    if (this.isClosed) return;
    if (mustStartAgain) this.#mustStartAgain = true;
    this.#boundWaiting();
    this.#outage.begin(error);
  }

  /** Once too much waits, all counters are written instead of it. Once this process has lost the directory, nothing is. */
  #boundWaiting(): void {
    if (this.buffer.length > MOST_WAITING) this.#mustStartAgain = true;
    if (this.#mustStartAgain || this.#isLost) this.buffer.clear();
  }

  #tryAgain(): void {
    const outage = this.#outage;
    outage.tries();
    if (!this.#isOurs()) return;
    outage.error = undefined;
    try {
      if (this.#mustStartAgain) this.#startAgain();
      else this.#write();
    } catch (error) {
      this.#fail(error, true);
    }
    if (outage.error === undefined) outage.end();
  }

  /** Begins a new file, to which all counters are written at once. */
  #startAgain(): void {
    this.#mustStartAgain = false;
    this.buffer.clear();
    this.#begin(this.#next.take() ?? this.#around.nextFileNow(this.file), true);
  }

  #begin(next: JournalFile, isNow: boolean): void {
    const former = this.file;
    this.file = next;
    this.isCopying = true;
    this.#markTime();
    if (!isNow) {
      former.sync((error) => {
        former.close();
        if (error !== null) this.#fail(error, true);
        else if (!this.isClosed) this.sealed(former.header.index, former.end);
      });
    } else {
      former.close();
    }
    this.onNewFile(isNow);
  }
}
