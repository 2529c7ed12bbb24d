import type { FileHandle } from 'node:fs/promises';

/** How much is written at a time. Larger blocks make V8 collect more often in a large heap. */
const BLOCK_BYTES = 262_144;
const EMPTY = Buffer.alloc(0);

/**
 * Writes a file in large blocks. While one block is being written, the next one is filled. What is appended is copied:
 * no buffer of a connection is held, and one that holds a single byte costs no more than that byte.
 */
export class BlockWriter {
  readonly #file: FileHandle;
  /** How many bytes are in the file. */
  #written = 0;
  #filling: Buffer | undefined;
  #filled = 0;
  /** What is being written. */
  #writing: Buffer | undefined;
  /** A block that is not in use. */
  #spare: Buffer | undefined;
  /** Never rejects. */
  #idle: Promise<void> = Promise.resolve();
  #failure: Error | undefined;

  /** Begins with `size` bytes of a block, which belongs to the writer from then on. */
  constructor(file: FileHandle, first: Buffer, size: number) {
    this.#file = file;
    if (size > 0) this.#write(first, size);
  }

  get written(): number {
    return this.#written;
  }

  /** Returns a promise if the disk is behind. Nothing more may be appended until it is fulfilled. */
  append(chunk: Buffer): Promise<void> | undefined {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    let at = this.#fill(chunk, 0);
    if (at < chunk.length) at += this.#fill(chunk, at);
    return at === chunk.length ? undefined : this.#appendRest(chunk, at);
  }

  /** Writes what is left, and frees the blocks. */
  async flush(): Promise<void> {
    await this.#settled();
    this.#writeFilled(1);
    await this.#settled();
    this.#filling = undefined;
    this.#spare = undefined;
  }

  /** Returns a copy of bytes that are not in the file yet, `length` of them at most. */
  copy(offset: number, length: number): Buffer {
    const writing = this.#writing ?? EMPTY;
    const start = offset - this.#written;
    if (start < writing.length) return Buffer.from(writing.subarray(start, start + length));
    const from = start - writing.length;
    return Buffer.from(this.#filling?.subarray(from, Math.min(this.#filled, from + length)) ?? EMPTY);
  }

  async #appendRest(chunk: Buffer, start: number): Promise<void> {
    for (let at = start; at < chunk.length; at += this.#fill(chunk, at)) {
      if (this.#filled === BLOCK_BYTES) await this.#idle;
      if (this.#failure !== undefined) throw this.#failure;
    }
  }

  /** Copies as many bytes as fit into the block. Returns their number. */
  #fill(chunk: Buffer, start: number): number {
    this.#filling ??= Buffer.allocUnsafeSlow(BLOCK_BYTES);
    const copied = chunk.copy(this.#filling, this.#filled, start);
    this.#filled += copied;
    if (this.#writing === undefined) this.#writeFilled();
    return copied;
  }

  #writeFilled(least = BLOCK_BYTES): void {
    if (this.#filling === undefined || this.#filled < least) return;
    const [block, size] = [this.#filling, this.#filled];
    this.#filling = this.#spare;
    this.#spare = undefined;
    this.#filled = 0;
    this.#write(block, size);
  }

  #write(block: Buffer, size: number): void {
    const bytes = block.subarray(0, size);
    this.#writing = bytes;
    this.#idle = writeAll(this.#file, bytes, this.#written).then(
      () => {
        this.#written += size;
        this.#writing = undefined;
        if (block.length === BLOCK_BYTES) this.#spare = block;
        this.#writeFilled();
      },
      (error: Error) => {
        this.#failure = error;
      },
    );
  }

  async #settled(): Promise<void> {
    while (this.#writing !== undefined && this.#failure === undefined) await this.#idle;
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/** Writes bytes at an offset. One write can write fewer bytes than it was given. */
async function writeAll(file: FileHandle, bytes: Buffer, offset: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at, offset + at);
    at += bytesWritten;
  }
}
