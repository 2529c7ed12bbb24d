import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type ByteSource, bufferSource, fileSource } from './byte-source.js';

/** A file on its way in: in memory until it is too large for it, then in a private temporary file. */
export class StoredFile {
  readonly #folder: string;
  readonly #memoryBytes: number;
  #chunks: Buffer[] = [];
  #file: FileHandle | undefined;
  #path: string | undefined;
  #size = 0;
  #removed = false;

  constructor(folder: string, memoryBytes: number) {
    this.#folder = folder;
    this.#memoryBytes = memoryBytes;
  }

  get size(): number {
    return this.#size;
  }

  get path(): string | undefined {
    return this.#path;
  }

  async write(chunk: Buffer): Promise<void> {
    this.#size += chunk.length;
    if (this.#file === undefined && this.#size <= this.#memoryBytes) {
      this.#chunks.push(chunk);
      return;
    }
    this.#file ??= await this.#spool();
    await this.#file.write(chunk);
  }

  /** Everything has come. */
  async end(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  /** Hands out the content to be read here and there. */
  async withSource<T>(read: (source: ByteSource) => Promise<T>): Promise<T> {
    if (this.#path === undefined) return read(bufferSource(this.#bytes()));
    const file = await open(this.#path);
    try {
      return await read(fileSource(file, this.#size));
    } finally {
      await file.close();
    }
  }

  stream(): Readable {
    return this.#path === undefined ? Readable.from([this.#bytes()]) : createReadStream(this.#path);
  }

  async buffer(): Promise<Buffer> {
    return this.#path === undefined ? this.#bytes() : readFile(this.#path);
  }

  /** Leaves nothing behind, whatever has come so far. */
  async remove(): Promise<void> {
    this.#removed = true;
    this.#chunks = [];
    await this.#file?.close().catch(() => undefined);
    this.#file = undefined;
    if (this.#path !== undefined) await rm(this.#path, { force: true });
  }

  /** In one piece from now on. */
  #bytes(): Buffer {
    const [first] = this.#chunks;
    if (first !== undefined && this.#chunks.length === 1) return first;
    const whole = Buffer.concat(this.#chunks);
    this.#chunks = [whole];
    return whole;
  }

  async #spool(): Promise<FileHandle> {
    // A name of our own, in a file that nobody else may open and that was not there before.
    const path = join(this.#folder, `gatewarden-${randomUUID()}`);
    const file = await open(path, 'wx', 0o600);
    this.#path = path;
    if (this.#removed) {
      await file.close();
      await rm(path, { force: true });
      throw new Error('the upload has been given up');
    }
    for (const chunk of this.#chunks) await file.write(chunk);
    this.#chunks = [];
    return file;
  }
}
