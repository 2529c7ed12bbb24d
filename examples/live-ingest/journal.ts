import { type FileHandle, open } from 'node:fs/promises';

const NEWLINE = 0x0a;

/**
 * Lines of JSON in a file that is only ever appended to. It survives a restart and a crash: what `append` has promised
 * is on the disk, and a last line that a crash cut short is taken off at the next start. For one process at a time.
 *
 * A database would do as well, but on Node 20 none is embedded, and the drivers of SQLite download or compile a binary
 * when they are installed.
 */
export class Journal {
  readonly #file: FileHandle;
  /** Bytes of whole entries. */
  #length: number;
  #lines: string[] = [];
  /** The write that is under way, or the last one. */
  #last: Promise<void> = Promise.resolve();
  /** The write that will take what is in `#lines`. */
  #next: Promise<void> | undefined;

  private constructor(file: FileHandle, length: number) {
    this.#file = file;
    this.#length = length;
  }

  /** Opens the file, made where there is none, and hands `replay` every entry in order. */
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

  /** Resolves once the entry is on the disk. Entries that come while another is being written go together. */
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
      // Half an entry in the middle would spoil the file.
      await this.#file.truncate(this.#length);
      throw error;
    }
  }
}
