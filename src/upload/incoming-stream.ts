import { Readable } from 'node:stream';
import { WINDOW_BYTES } from './byte-source.js';
import type { SpooledFile } from './spooled-file.js';

/**
 * Reads a file that is still being written, at the pace of its reader. A slow reader delays neither the client nor the
 * checks: what it has not read yet stays in the spooled file.
 */
export class IncomingStream extends Readable {
  readonly #file: SpooledFile;
  #offset = 0;
  /** How many bytes the reader waits for; 0 while a read of the file is under way or nothing was requested. */
  #requested = 0;
  #complete = false;

  constructor(file: SpooledFile) {
    super({ highWaterMark: WINDOW_BYTES });
    this.#file = file;
    file.onGrown = () => this.#continue();
    // The stream can fail before a reader listens or after it has stopped. That must not end the process.
    this.on('error', () => undefined);
  }

  /** Lets the stream end at the end of the file. */
  complete(): void {
    this.#complete = true;
    this.#continue();
  }

  override _read(size: number): void {
    this.#requested = size;
    this.#continue();
  }

  #continue(): void {
    const requested = this.#requested;
    if (requested === 0 || this.destroyed) return;
    if (this.#offset === this.#file.size) {
      if (!this.#complete) return;
      this.#requested = 0;
      this.push(null);
      return;
    }
    this.#requested = 0;
    this.#file
      .source()
      .read(this.#offset, requested)
      .then(
        (bytes) => {
          // The file has been removed. The stream is about to be destroyed with the reason.
          if (bytes.length === 0) return;
          this.#offset += bytes.length;
          // A copy, since the reader may modify it.
          this.push(Buffer.from(bytes));
        },
        (error: Error) => this.destroy(error),
      );
  }
}
