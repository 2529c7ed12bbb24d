import { createReadStream } from 'node:fs';
import { type FileHandle, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { SaveOptions } from '../core/uploaded-file.js';
import { type ByteSource, bufferSource, fileSource } from './byte-source.js';
import { saveFile } from './save-file.js';
import { REFRESH_MS } from './stale-files.js';
import { temporaryName } from './temporary-name.js';
import { aborted } from './upload-error.js';

const INITIAL_BYTES = 16_384;

/** A file that is being received: in memory while it is small, then in a private temporary file. */
export class SpooledFile {
  readonly #directory: string;
  readonly #memoryBytes: number;
  /** One buffer for all chunks: a list of tiny chunks would need many times their size. */
  #memory: Buffer | undefined;
  #file: FileHandle | undefined;
  #path: string | undefined;
  #refresh: NodeJS.Timeout | undefined;
  #size = 0;
  #removed = false;
  /** Called when more bytes can be read. */
  onGrown: () => void = () => undefined;

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

  /** @throws UploadError if the file has been removed */
  async write(chunk: Buffer): Promise<void> {
    if (this.#removed) throw aborted();
    const size = this.#size + chunk.length;
    if (this.#file === undefined && size <= this.#memoryBytes) {
      chunk.copy(this.#memoryFor(size), this.#size);
    } else {
      await (this.#file ?? (await this.#moveToDisk())).writeFile(chunk);
    }
    this.#size = size;
    this.onGrown();
  }

  /** What has been written so far. */
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

  #openStream(): Readable {
    return this.#path === undefined ? Readable.from([this.#bytes()]) : createReadStream(this.#path);
  }

  #bytes(): Buffer {
    return this.#memory?.subarray(0, this.#size) ?? Buffer.alloc(0);
  }

  /** Doubles the buffer when it is full, so that each byte is copied at most twice. */
  #memoryFor(size: number): Buffer {
    let memory = this.#memory;
    if (memory === undefined || memory.length < size) {
      const length = Math.min(this.#memoryBytes, Math.max(INITIAL_BYTES, size, 2 * (memory?.length ?? 0)));
      const larger = Buffer.allocUnsafeSlow(length);
      memory?.copy(larger, 0, 0, this.#size);
      memory = larger;
      this.#memory = memory;
    }
    return memory;
  }

  async #moveToDisk(): Promise<FileHandle> {
    // `wx` fails if the path exists; 0600 lets no other user open the file.
    const path = join(this.#directory, temporaryName());
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
    // Set in the same turn as the check above: `remove` would otherwise miss the handle and leave it open.
    this.#file = file;
    this.#refresh = setInterval(() => {
      const now = new Date();
      file.utimes(now, now).catch(() => undefined);
    }, REFRESH_MS).unref();
    return file;
  }
}

function failedStream(): Readable {
  return new Readable({
    read() {
      this.destroy(aborted());
    },
  });
}
