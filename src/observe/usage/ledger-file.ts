import { warn } from '../../core/warning.js';
import type { MemoryRows } from './memory-rows.js';

const VERSION = 'gatewarden usage 1';

/** Not imported: runtimes without files can use all else. */
const files = () => process.getBuiltinModule('node:fs');

/** Keeps rows in a file, which is replaced as a whole. */
export class LedgerFile {
  readonly #path: string;
  readonly #interval: number;
  readonly #rows: MemoryRows;
  #hasChanged = false;
  #isClosed = false;
  #hasWarned = false;
  #timer: NodeJS.Timeout | undefined = undefined;
  /** The write that is under way. */
  #writing: Promise<void> = Promise.resolve();

  /** Reads the file if there is one. `interval` in milliseconds. @throws Error if it cannot be read or is no ledger */
  constructor(path: string, interval: number, rows: MemoryRows) {
    this.#path = path;
    this.#interval = interval;
    this.#rows = rows;
    const saved = savedIn(path);
    if (saved === undefined) return;
    try {
      const { version, rows: content } = JSON.parse(saved) as { readonly version?: unknown; readonly rows?: unknown };
      if (version !== VERSION) throw new TypeError('it was not written by this version');
      rows.restore(content);
    } catch (cause) {
      throw new Error(
        `gatewarden: memoryLedger cannot use the file ${path}: it is damaged, or no ledger; restore it from a backup, or move it away to begin at zero`,
        { cause },
      );
    }
  }

  /** The rows have changed, and are written at the end of the interval. */
  changed(): void {
    this.#hasChanged = true;
    if (this.#timer === undefined && !this.#isClosed) {
      this.#timer = setTimeout(() => this.#due(), this.#interval).unref();
    }
  }

  /** Resolves when all changes up to now are on the disk. */
  save(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    // One after the other, or an earlier state could replace a later one.
    const writing = this.#writing.catch(() => undefined).then(() => (this.#hasChanged ? this.#write() : undefined));
    this.#writing = writing;
    return writing;
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return this.save();
  }

  #due(): void {
    this.#timer = undefined;
    this.save().then(
      () => {
        this.#hasWarned = false;
      },
      (error: unknown) => {
        if (!this.#hasWarned) {
          const reason = error instanceof Error ? error.message : String(error);
          warn(`gatewarden: memoryLedger cannot write its file, and will try again: ${reason}`, {
            code: 'GATEWARDEN_LEDGER_FILE',
          });
        }
        this.#hasWarned = true;
        this.changed();
      },
    );
  }

  async #write(): Promise<void> {
    this.#hasChanged = false;
    const temporary = `${this.#path}.new`;
    try {
      const { open, rename } = files().promises;
      const file = await open(temporary, 'w', 0o600);
      try {
        await file.writeFile(`{"version":"${VERSION}","rows":`);
        for (const part of await this.#rows.packed()) await file.writeFile(part);
        await file.writeFile('}');
        // Otherwise the name could reach the disk before the content.
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, this.#path);
    } catch (error) {
      this.#hasChanged = true;
      throw error;
    }
  }
}

/** The content of a file; undefined if there is none. */
function savedIn(path: string): string | undefined {
  try {
    return files().readFileSync(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`gatewarden: memoryLedger cannot read the file ${path}`, { cause });
  }
}
