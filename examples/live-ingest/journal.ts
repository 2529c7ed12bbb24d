import { type FileHandle, open } from 'node:fs/promises';

const NEWLINE = 0x0a;

/**
 * An append-only file of JSON lines. It survives a restart and a crash: once `append` resolves, its entry is on the disk,
 * and an incomplete last line is removed at the next start. One process at a time may use the file.
 *
 * A database would work too, but Node 20 includes none, and SQLite drivers download or compile a binary when they are
 * installed.
 */
export class Journal {
  readonly #file: FileHandle;
  /** The length of the complete entries, in bytes. */
  #length: number;
  #lines: string[] = [];
  /** The write in progress, or the last one. */
  #last: Promise<void> = Promise.resolve();
  /** The write that will contain `#lines`. */
  #next: Promise<void> | undefined;

  private constructor(file: FileHandle, length: number) {
    this.#file = file;
    this.#length = length;
  }

  /** Opens or creates the file, and calls `replay` with every entry in order. */
  static async open(path: string, replay: (entry: unknown) => void): Promise<Journal> {
    const file = await open(path, 'a+', 0o600);
    try {
      const content = await file.readFile();
      const length = content.lastIndexOf(NEWLINE) + 1;
      if (length < content.length) await file.truncate(length);
      for (const line of content.subarray(0, length).toString('utf8').split('\n')) {
        if (line !== '') replay(JSON.parse(line));
      }
      return new Journal(file, length);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Resolves once the entry is on the disk. Entries that arrive during a write are written together. */
  append(entry: unknown): Promise<void> {
    this.#lines.push(`${JSON.stringify(entry)}\n`);
    if (this.#next === undefined) {
      this.#next = this.#last.catch(() => undefined).then(() => this.#write());
      this.#last = this.#next;
    }
    return this.#next;
  }

  async close(): Promise<void> {
    await this.#last.catch(() => undefined);
    await this.#file.close();
  }

  async #write(): Promise<void> {
    const bytes = Buffer.from(this.#lines.join(''));
    this.#lines = [];
    this.#next = undefined;
    try {
      await this.#file.appendFile(bytes);
      await this.#file.datasync();
      this.#length += bytes.length;
    } catch (error) {
      // An incomplete entry in the middle would make the file unreadable.
      await this.#file.truncate(this.#length);
      throw error;
    }
  }
}
