import { HEAD_BYTES } from './content-type.js';
import type { SpooledFile } from './spooled-file.js';
import { tooLarge } from './upload-error.js';

/**
 * Spools the content of one part. Each step returns a promise only if the next one has to wait for it.
 */
export class FilePart {
  readonly #spooled: SpooledFile;
  readonly #maxBytes: number;
  readonly #accept: (head: Buffer) => Promise<void>;
  #size = 0;
  /** The first bytes, as long as there are too few of them. */
  #head: Buffer | undefined;
  #isAccepted = false;

  /** `accept` is called with the first bytes, before any of them is spooled. If the part is empty, it is not called. */
  constructor(spooled: SpooledFile, maxBytes: number, accept: (head: Buffer) => Promise<void>) {
    this.#spooled = spooled;
    this.#maxBytes = maxBytes;
    this.#accept = accept;
  }

  /** @throws UploadError */
  write(chunk: Buffer): Promise<void> | undefined {
    const before = this.#size;
    this.#size += chunk.length;
    if (this.#size > this.#maxBytes) throw tooLarge('file', this.#maxBytes);
    if (this.#isAccepted) return this.#spooled.write(chunk);
    if (this.#size >= HEAD_BYTES) {
      return this.#start(before === 0 ? chunk : Buffer.concat([this.#head?.subarray(0, before) ?? EMPTY, chunk]));
    }
    // Not a list of chunks: a client can send a byte at a time.
    this.#head ??= Buffer.allocUnsafeSlow(HEAD_BYTES);
    chunk.copy(this.#head, before);
    return undefined;
  }

  /** Waits until everything is written. */
  async end(): Promise<void> {
    if (this.#size === 0) return;
    if (!this.#isAccepted) await this.#start(this.#head?.subarray(0, this.#size) ?? EMPTY);
    await this.#spooled.finish();
  }

  async #start(head: Buffer): Promise<void> {
    this.#isAccepted = true;
    await this.#accept(head);
    this.#head = undefined;
    await this.#spooled.write(head);
  }
}

const EMPTY = Buffer.alloc(0);
