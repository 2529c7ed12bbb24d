import { createReadStream } from 'node:fs';
import { type FileHandle, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { SaveOptions } from '../core/uploaded-file.js';
import { BlockWriter } from './block-writer.js';
import { type ByteSource, bufferSource, fileSource } from './byte-source.js';
import { saveFile } from './save-file.js';
import { REFRESH_MS } from './stale-files.js';
import { temporaryName } from './temporary-name.js';
import { aborted } from './upload-error.js';

const EMPTY = Buffer.alloc(0);

/** A file that is being received: in memory while it is small, then in a private temporary file. */
export class SpooledFile {
  readonly #directory: string;
  readonly #memoryBytes: number;
  /** One buffer for all chunks: a list of tiny chunks would need many times their size. */
  #memory: Buffer | undefined;
  #file: FileHandle | undefined;
  #blocks: BlockWriter | undefined;
  #path: string | undefined;
  #refresh: NodeJS.Timeout | undefined;
  #size = 0;
  #removed = false;
  /** Called with each chunk after it has been copied. */
  onGrown: (chunk: Buffer) => void = () => undefined;

  constructor(directory: string, memoryBytes: number) {
    this.#directory = directory;
    this.#memoryBytes = memoryBytes;
  }

  /** How many bytes can be read. */
  get size(): number {
    return this.#size;
  }

  get path(): string | undefined {
    return this.#path;
  }

  /**
   * Appends a copy of a chunk. Returns a promise if the disk is behind: nothing more may be written until it is
   * fulfilled. It rejects with an `UploadError` if the file has been removed.
   */
  write(chunk: Buffer): Promise<void> | undefined {
    if (this.#removed) return Promise.reject(aborted());
    if (this.#blocks !== undefined) return this.#append(this.#blocks, chunk);
    const size = this.#size + chunk.length;
    if (size > this.#memoryBytes) return this.#moveToDisk().then((blocks) => this.#append(blocks, chunk));
    chunk.copy(this.#memoryFor(size), this.#size);
    this.#grow(chunk);
    return undefined;
  }

  /** Waits until everything is written. @throws UploadError if the file has been removed */
  async finish(): Promise<void> {
    await this.#blocks?.flush().catch((error) => this.#failed(error));
    if (this.#removed) throw aborted();
  }

  /**
   * Reads up to `length` bytes from `offset` on, also while more are being written. The reader may modify them. Returns
   * no bytes if the file has been removed.
   */
  read(offset: number, length: number): Buffer | Promise<Buffer> {
    const end = Math.min(this.#size, offset + length);
    if (this.#file === undefined || this.#blocks === undefined) return Buffer.from(this.#bytes().subarray(offset, end));
    const { written } = this.#blocks;
    if (offset >= written) return this.#blocks.copy(offset, end - offset);
    return readNew(this.#file, offset, Math.min(end, written) - offset);
  }

  /** What was written before it was finished. */
  source(): ByteSource {
    return this.#file === undefined ? bufferSource(this.#bytes()) : fileSource(this.#file, this.#size);
  }

  /** The stream of a removed file fails with an `UploadError`: it must not look like an empty file. */
  stream(): Readable {
    const stream = this.#removed ? failedStream() : this.#openStream();
    // The client can disconnect at any moment. Without a listener that would end the process.
    return stream.on('error', () => undefined);
  }

  /** @throws UploadError if the file has been removed */
  async buffer(): Promise<Buffer> {
    if (this.#removed) throw aborted();
    return this.#path === undefined ? this.#bytes() : readFile(this.#path);
  }

  /** Saves a copy. @throws UploadError if the file has been removed */
  async saveTo(path: string, options?: SaveOptions): Promise<void> {
    if (this.#removed) throw aborted();
    try {
      await saveFile(this.#path ?? this.#bytes(), path, options);
    } catch (error) {
      throw this.#removed && (error as NodeJS.ErrnoException).code === 'ENOENT' ? aborted(error) : error;
    }
  }

  /** Frees the memory and deletes the temporary file. */
  async remove(): Promise<void> {
    this.#removed = true;
    this.#memory = undefined;
    const file = this.#file;
    this.#file = undefined;
    clearInterval(this.#refresh);
    await file?.close().catch(() => undefined);
    if (this.#path !== undefined) await rm(this.#path, { force: true });
  }

  #append(blocks: BlockWriter, chunk: Buffer): Promise<void> | undefined {
    const rest = blocks.append(chunk);
    if (rest === undefined) {
      this.#grow(chunk);
      return undefined;
    }
    return rest.then(
      () => this.#grow(chunk),
      (error) => this.#failed(error),
    );
  }

  #grow(chunk: Buffer): void {
    this.#size += chunk.length;
    this.onGrown(chunk);
  }

  /** A write fails if the file is removed in the meantime. */
  #failed(error: unknown): never {
    throw this.#removed ? aborted(error) : error;
  }

  #openStream(): Readable {
    return this.#path === undefined ? Readable.from([this.#bytes()]) : createReadStream(this.#path);
  }

  #bytes(): Buffer {
    return this.#memory?.subarray(0, this.#size) ?? EMPTY;
  }

  /** Doubles the buffer when it is full, so that each byte is copied at most twice. */
  #memoryFor(size: number): Buffer {
    let memory = this.#memory;
    if (memory === undefined || memory.length < size) {
      const length = Math.min(this.#memoryBytes, Math.max(size, 2 * (memory?.length ?? 0)));
      const larger = Buffer.allocUnsafeSlow(length);
      memory?.copy(larger, 0, 0, this.#size);
      memory = larger;
      this.#memory = memory;
    }
    return memory;
  }

  async #moveToDisk(): Promise<BlockWriter> {
    // `wx` fails if the path exists; 0600 lets no other user open the file.
    const path = join(this.#directory, temporaryName());
    const file = await open(path, 'wx+', 0o600);
    this.#path = path;
    if (this.#removed) {
      await file.close();
      await rm(path, { force: true });
      throw aborted();
    }
    // Set in the same turn as the check above: `remove` would otherwise miss the handle and leave it open.
    this.#file = file;
    this.#blocks = new BlockWriter(file, this.#memory ?? EMPTY, this.#size);
    this.#memory = undefined;
    this.#refresh = setInterval(() => {
      const now = new Date();
      file.utimes(now, now).catch(() => undefined);
    }, REFRESH_MS).unref();
    return this.#blocks;
  }
}

async function readNew(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(length);
  const { bytesRead } = await file.read(bytes, 0, length, offset);
  return bytes.subarray(0, bytesRead);
}

function failedStream(): Readable {
  return new Readable({
    read() {
      this.destroy(aborted());
    },
  });
}
