import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Measure, readMeasure } from './operator-store.js';

const FORMAT = 'gatewarden-operator-1';

/** A JSON file of measures. It is replaced as a whole, so that no reader and no crash ever sees a part. */
export class MeasureFile {
  readonly #path: string;
  /** What this process has last read or written. Undefined if there was no file. */
  #content: string | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** @throws Error for a file that cannot be read, or is something else: to begin without it would let suspended clients in */
  read(): readonly Measure[] {
    this.#content = this.#present();
    return this.#content === undefined ? [] : this.#measuresOf(this.#content);
  }

  /** @throws Error if the file cannot be written, or another process has changed it */
  write(measures: readonly Measure[]): void {
    if (this.#present() !== this.#content) {
      throw new Error(
        `gatewarden: memoryOperatorStore found ${this.#path} changed by another process; restart this one, or use redisOperatorStore for several`,
      );
    }
    const content = `${JSON.stringify({ format: FORMAT, measures }, undefined, 2)}\n`;
    const temporary = `${this.#path}.${randomBytes(6).toString('hex')}.tmp`;
    try {
      // Only the owner may read ids of clients. `writeSync` would write a part to a disk that is nearly full, and not fail.
      synced(temporary, 'wx', (file) => writeFileSync(file, content));
      renameSync(temporary, this.#path);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
    this.#content = content;
    try {
      // The new name must survive a power cut too. Some systems cannot open a directory.
      synced(dirname(this.#path), 'r', () => undefined);
    } catch {}
  }

  #present(): string | undefined {
    try {
      return readFileSync(this.#path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  #measuresOf(content: string): readonly Measure[] {
    const measures = this.#parsed(content)?.map(readMeasure);
    if (measures === undefined || measures.includes(undefined)) {
      throw new Error(
        `gatewarden: memoryOperatorStore cannot read ${this.#path}, which is damaged or something else; restore it, or move it away to begin without suspensions`,
      );
    }
    return measures as readonly Measure[];
  }

  #parsed(content: string): readonly unknown[] | undefined {
    try {
      const { format, measures } = JSON.parse(content) as { readonly format?: unknown; readonly measures?: unknown };
      return format === FORMAT && Array.isArray(measures) ? measures : undefined;
    } catch {
      return undefined;
    }
  }
}

function synced(path: string, flags: 'wx' | 'r', act: (file: number) => void): void {
  const file = openSync(path, flags, 0o600);
  try {
    act(file);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
