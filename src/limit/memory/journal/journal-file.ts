import { FILE_HEADER, type FileHeader, headerBytes } from './file-header.js';
import { fileName, UNFINISHED } from './journal-files.js';
import { noteNewest } from './newest-file.js';
import type { NodeModules } from './node-modules.js';

const BLOCK = 262_144;
const SYNC_EVERY = 16 * BLOCK;

/** A file that is being written. It was filled with zeros, since a file that grows makes a write wait for the disk. */
export class JournalFile {
  /** Where the next frame begins. */
  end = FILE_HEADER;
  /** Frames in it. */
  frames = 0;
  /** It is on the disk for good up to here. */
  durable = FILE_HEADER;
  /** All counters were copied to it up to here. */
  copied = FILE_HEADER;
  readonly header: FileHeader;
  readonly #modules: NodeModules;
  readonly #descriptor: number;
  /** Syncs under way. */
  #pending = 0;
  #isClosed = false;

  private constructor(modules: NodeModules, path: string, header: FileHeader) {
    this.#modules = modules;
    this.header = header;
    this.#descriptor = modules.fs.openSync(path, 'r+');
  }

  /** Makes a file, and waits until it is on the disk for good. */
  static create(modules: NodeModules, directory: string, header: FileHeader): JournalFile {
    const { fs, path } = modules;
    const final = path.join(directory, fileName(header.index));
    const unfinished = unfinishedName(final, header);
    const descriptor = fs.openSync(unfinished, 'w', 0o600);
    try {
      fs.writeSync(descriptor, headerBytes(header), 0, FILE_HEADER, 0);
      const zeros = Buffer.alloc(Math.min(BLOCK, header.size));
      for (let at = FILE_HEADER; at < header.size; ) {
        const written = fs.writeSync(descriptor, zeros, 0, Math.min(BLOCK, header.size - at), at);
        if (written === 0) throw noRoom();
        at += written;
      }
      fs.fdatasyncSync(descriptor);
    } catch (error) {
      fs.rmSync(unfinished, { force: true });
      throw error;
    } finally {
      fs.closeSync(descriptor);
    }
    fs.renameSync(unfinished, final);
    syncDirectory(modules, directory);
    noteNewest(modules, directory, header);
    return new JournalFile(modules, final, header);
  }

  /**
   * Makes a file without stopping the event loop. Rejects if it `isWanted` no more when it is finished: another process may
   * have the directory by then.
   */
  static async prepare(
    modules: NodeModules,
    directory: string,
    header: FileHeader,
    isWanted: () => boolean,
  ): Promise<JournalFile> {
    const { fs, path } = modules;
    const final = path.join(directory, fileName(header.index));
    const unfinished = unfinishedName(final, header);
    const handle = await fs.promises.open(unfinished, 'w', 0o600);
    try {
      await handle.write(headerBytes(header), 0, FILE_HEADER, 0);
      const zeros = Buffer.alloc(Math.min(BLOCK, header.size));
      for (let at = FILE_HEADER, synced = 0; at < header.size; ) {
        const { bytesWritten } = await handle.write(zeros, 0, Math.min(BLOCK, header.size - at), at);
        if (bytesWritten === 0) throw noRoom();
        at += bytesWritten;
        // A disk that has much to write makes other writes wait as well.
        if (at - synced < SYNC_EVERY) continue;
        await handle.datasync();
        synced = at;
      }
      await handle.datasync();
    } catch (error) {
      // Otherwise what was written of it keeps the disk full.
      await fs.promises.rm(unfinished, { force: true });
      throw error;
    } finally {
      await handle.close();
    }
    if (!isWanted()) {
      await fs.promises.rm(unfinished, { force: true });
      throw new Error('the journal was closed');
    }
    fs.renameSync(unfinished, final);
    const file = new JournalFile(modules, final, header);
    const parent = await fs.promises.open(directory, 'r');
    try {
      await parent.sync();
    } finally {
      await parent.close();
    }
    noteNewest(modules, directory, header);
    return file;
  }

  /** How much of the room for changes is used. Counters that are larger than was expected have room as well. */
  get fullness(): number {
    const { end, copied, header } = this;
    return (end - copied) / Math.max(header.size - copied, copied / 4);
  }

  /** Appends a frame. If that fails, the next one is written to the same place. */
  write(bytes: Buffer, length: number): void {
    const { fs } = this.#modules;
    let written = fs.writeSync(this.#descriptor, bytes, 0, length, this.end);
    while (written < length) {
      const more = fs.writeSync(this.#descriptor, bytes, written, length - written, this.end + written);
      if (more === 0) throw noRoom();
      written += more;
    }
    this.end += length;
    this.frames++;
  }

  /** Has all that is written brought to the disk for good. The event loop goes on. */
  sync(done: (error: Error | null) => void): void {
    const { end } = this;
    this.#pending++;
    this.#modules.fs.fdatasync(this.#descriptor, (error) => {
      this.#pending--;
      if (error === null) this.durable = Math.max(this.durable, end);
      if (this.#isClosed && this.#pending === 0) this.#modules.fs.closeSync(this.#descriptor);
      done(error);
    });
  }

  syncNow(): void {
    this.#modules.fs.fdatasyncSync(this.#descriptor);
    this.durable = this.end;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#pending === 0) this.#modules.fs.closeSync(this.#descriptor);
  }
}

function noRoom(): Error {
  return new Error('the disk accepts no more bytes');
}

/** No other process, and no other file of this one, has the same. */
function unfinishedName(final: string, { nonce }: FileHeader): string {
  return `${final}.${nonce}${UNFINISHED}`;
}

/** Names in a directory are on the disk for good only after this. */
function syncDirectory({ fs }: NodeModules, directory: string): void {
  const descriptor = fs.openSync(directory, 'r');
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}
