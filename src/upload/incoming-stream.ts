import { Readable } from 'node:stream';
import { WINDOW_BYTES } from './byte-source.js';
import type { SpooledFile } from './spooled-file.js';

/**
 * Reads a file that is still being written, at the pace of its reader. A reader that keeps up gets the chunks as they
 * arrive. A slow reader delays neither the client nor the checks: what it has not read yet stays in the spooled file.
 */
export class IncomingStream extends Readable {
  readonly #file: SpooledFile;
  #offset = 0;
  /** Whether the reader waits for more. */
  #wanted = false;
  #isReading = false;
  #complete = false;

  constructor(file: SpooledFile) {
    super({ highWaterMark: WINDOW_BYTES });
    this.#file = file;
    file.onGrown = (chunk) => this.#add(chunk);
    // The stream can fail before a reader listens or after it has stopped. That must not end the process.
    this.on('error', () => undefined);
  }

  /** Lets the stream end at the end of the file. */
  complete(): void {
    this.#complete = true;
    this.#continue();
  }

  override _read(): void {
    this.#wanted = true;
    this.#continue();
  }

  #add(chunk: Buffer): void {
    if (!this.#wanted || this.#isReading || this.destroyed) return;
    // The file has a copy of the chunk, so the reader may modify it.
    if (this.#offset + chunk.length === this.#file.size) {
      this.#deliver(chunk);
    } else {
      this.#continue();
    }
  }

  #continue(): void {
    while (this.#wanted && !this.#isReading && !this.destroyed) {
      if (this.#offset === this.#file.size) {
        if (this.#complete) {
          this.#wanted = false;
          this.push(null);
        }
        return;
      }
      const bytes = this.#file.read(this.#offset, WINDOW_BYTES);
      if (Buffer.isBuffer(bytes)) {
        // The file has been removed. The stream is about to be destroyed with the reason.
        if (bytes.length === 0) return;
        this.#deliver(bytes);
      } else {
        this.#isReading = true;
        bytes.then(
          (read) => {
            this.#isReading = false;
            if (read.length === 0) return;
            this.#deliver(read);
            this.#continue();
          },
          (error: Error) => this.destroy(error),
        );
      }
    }
  }

  #deliver(bytes: Buffer): void {
    this.#offset += bytes.length;
    this.#wanted = false;
    // A reader can ask for more while it is given this.
    if (this.push(bytes)) this.#wanted = true;
  }
}
