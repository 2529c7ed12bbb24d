import type { JournalFile } from './journal-file.js';

/** After a file could not be made, such as on a full disk, no other is tried for so long, in milliseconds. */
const TRY_AGAIN = 1000;

/** The file after the present one, made in advance and in the background. */
export class NextFile {
  #isPreparing = false;
  #failedAt = Number.NEGATIVE_INFINITY;
  #ready: JournalFile | undefined;

  get isReady(): boolean {
    return this.#ready !== undefined;
  }

  /** Has the file made, unless it is being made. Without room for it, the present one goes on. */
  prepare(make: () => Promise<JournalFile>, done: (file: JournalFile) => void): void {
    if (this.#isPreparing || performance.now() - this.#failedAt < TRY_AGAIN) return;
    this.#isPreparing = true;
    make().then(
      (file) => {
        this.#isPreparing = false;
        this.#ready = file;
        done(file);
      },
      () => {
        this.#isPreparing = false;
        this.#failedAt = performance.now();
      },
    );
  }

  /** Takes the file, if it is there. Throws while it is being made: another one would have its name. */
  take(): JournalFile | undefined {
    if (this.#isPreparing) throw new Error('the next file is not ready');
    const file = this.#ready;
    this.#ready = undefined;
    return file;
  }

  close(): void {
    this.#ready?.close();
    this.#ready = undefined;
  }
}
