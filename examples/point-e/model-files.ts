import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';

const LIFETIME_MS = 24 * 3_600_000;
const SWEEP_MS = 60_000;
const MAX_BYTES = 256 * 1024 * 1024;

export interface ModelFile {
  readonly name: string;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
}

/** Generated models in a private temporary folder, each for a day. Names cannot be guessed. */
export class ModelFiles {
  readonly #folder: string;
  readonly #expiry = new Map<string, number>();
  readonly #timer: NodeJS.Timeout;

  private constructor(folder: string) {
    this.#folder = folder;
    this.#timer = setInterval(() => void this.#sweep(), SWEEP_MS).unref();
  }

  static async create(): Promise<ModelFiles> {
    return new ModelFiles(await mkdtemp(join(tmpdir(), 'point-e-')));
  }

  /** Writes one model. A stream that fails or is too long leaves no file behind. */
  async add(ply: ReadableStream<Uint8Array>, signal: AbortSignal): Promise<ModelFile> {
    const name = `${randomUUID()}.ply`;
    const path = join(this.#folder, name);
    try {
      await pipeline(Readable.fromWeb(ply), atMost(MAX_BYTES), createWriteStream(path, { mode: 0o600 }), { signal });
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    }
    const expiresAt = Date.now() + LIFETIME_MS;
    this.#expiry.set(name, expiresAt);
    return { name, expiresAt };
  }

  /** Path of a model that has not expired. Only names given out by `add` lead anywhere. */
  find(name: string): string | undefined {
    const expiresAt = this.#expiry.get(name);
    return expiresAt !== undefined && expiresAt > Date.now() ? join(this.#folder, name) : undefined;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #sweep(): Promise<void> {
    for (const [name, expiresAt] of this.#expiry) {
      if (expiresAt > Date.now()) continue;
      this.#expiry.delete(name);
      await rm(join(this.#folder, name), { force: true });
    }
  }
}

function atMost(bytes: number): Transform {
  let left = bytes;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      left -= chunk.length;
      if (left < 0) done(new Error(`the model is larger than ${bytes} bytes`));
      else done(null, chunk);
    },
  });
}
