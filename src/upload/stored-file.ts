import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type ByteSource, bufferSource, fileSource } from './byte-source.js';
import { aborted } from './upload-error.js';

const FIRST_BYTES = 16_384;

/** A file on its way in: in memory until it is too large for it, then in a private temporary file. */
export class StoredFile {
  readonly #folder: string;
  readonly #memoryBytes: number;
  /** One piece, however small the pieces are in which it comes: so many objects would take many times its size. */
  #memory: Buffer | undefined;
  #file: FileHandle | undefined;
  #path: string | undefined;
  #size = 0;
  #removed = false;
  /** Called whenever more can be read. */
  onGrown: () => void = () => undefined;

  constructor(folder: string, memoryBytes: number) {
    this.#folder = folder;
    this.#memoryBytes = memoryBytes;
  }

  /** As much as can be read. */
  get size(): number {
    return this.#size;
  }

  get path(): string | undefined {
    return this.#path;
  }

  /** @throws UploadError where it has been removed */
  async write(chunk: Buffer): Promise<void> {
    if (this.#removed) throw aborted();
    const size = this.#size + chunk.length;
    if (this.#file === undefined && size <= this.#memoryBytes) {
      chunk.copy(this.#memoryOf(size), this.#size);
    } else {
      await (this.#file ?? (await this.#spool())).writeFile(chunk);
    }
    this.#size = size;
    this.onGrown();
  }

  /** What has come so far. */
  source(): ByteSource {
    return this.#file === undefined ? bufferSource(this.#bytes()) : fileSource(this.#file, this.#size);
  }

  /** Fails with an UploadError where it has been removed: what is no more must not look like an empty file. */
  stream(): Readable {
    const stream = this.#removed ? gone() : this.#stream();
    // The client may leave at any moment: that must not end a process whose handler listens to no error.
    return stream.on('error', () => undefined);
  }

  #stream(): Readable {
    return this.#path === undefined ? Readable.from([this.#bytes()]) : createReadStream(this.#path);
  }

  /** @throws UploadError where it has been removed */
  async buffer(): Promise<Buffer> {
    if (this.#removed) throw aborted();
    return this.#path === undefined ? this.#bytes() : readFile(this.#path);
  }

  /** Leaves nothing behind, whatever has come so far. */
  async remove(): Promise<void> {
    this.#removed = true;
    this.#memory = undefined;
    const file = this.#file;
    this.#file = undefined;
    await file?.close().catch(() => undefined);
    if (this.#path !== undefined) await rm(this.#path, { force: true });
  }

  #bytes(): Buffer {
    return this.#memory?.subarray(0, this.#size) ?? Buffer.alloc(0);
  }

  /** Grows to twice its size, so that each byte is copied twice at most. */
  #memoryOf(size: number): Buffer {
    let memory = this.#memory;
    if (memory === undefined || memory.length < size) {
      const length = Math.min(this.#memoryBytes, Math.max(FIRST_BYTES, size, 2 * (memory?.length ?? 0)));
      const larger = Buffer.allocUnsafeSlow(length);
      memory?.copy(larger, 0, 0, this.#size);
      memory = larger;
      this.#memory = memory;
    }
    return memory;
  }

  async #spool(): Promise<FileHandle> {
    // A name of our own, in a file that nobody else may open and that was not there before.
    const path = join(this.#folder, `gatewarden-${randomUUID()}`);
    const file = await open(path, 'wx+', 0o600);
    this.#path = path;
    try {
      if (this.#size > 0) await file.writeFile(this.#bytes());
      if (this.#removed) throw aborted();
    } catch (error) {
      await file.close();
      await rm(path, { force: true });
      throw error;
    }
    this.#memory = undefined;
    // At once: were it told of later, whoever removes it meanwhile would leave it open.
    this.#file = file;
    return file;
  }
}

function gone(): Readable {
  return new Readable({
    read() {
      this.destroy(aborted());
    },
  });
}
