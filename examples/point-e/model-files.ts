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

/** Stores each generated model for a day in a private temporary directory. Names cannot be guessed. */
export class ModelFiles {
  readonly #directory: string;
  readonly #expiry = new Map<string, number>();
  readonly #timer: NodeJS.Timeout;

  private constructor(directory: string) {
    this.#directory = directory;
    this.#timer = setInterval(() => void this.#sweep(), SWEEP_MS).unref();
  }

  static async create(): Promise<ModelFiles> {
    return new ModelFiles(await mkdtemp(join(tmpdir(), 'point-e-')));
  }

  /** Writes one model. If the stream fails or is too long, no file is left behind. */
  async add(ply: ReadableStream<Uint8Array>, signal: AbortSignal): Promise<ModelFile> {
    const name = `${randomUUID()}.ply`;
    const path = join(this.#directory, name);
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

  /** The path of a model that has not expired. Undefined for a name that `add` did not return. */
  find(name: string): string | undefined {
    const expiresAt = this.#expiry.get(name);
    return expiresAt !== undefined && expiresAt > Date.now() ? join(this.#directory, name) : undefined;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #sweep(): Promise<void> {
    for (const [name, expiresAt] of this.#expiry) {
      if (expiresAt > Date.now()) continue;
      this.#expiry.delete(name);
      await rm(join(this.#directory, name), { force: true });
    }
  }
}

function atMost(bytes: number): Transform {
  let remaining = bytes;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      remaining -= chunk.length;
      if (remaining < 0) done(new Error(`the model is larger than ${bytes} bytes`));
      else done(null, chunk);
    },
  });
}
