import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { UploadedFile } from 'gatewarden';

const SWEEP_MS = 60 * 60_000;
/** Longer than any job waits and runs. */
const LIFETIME_MS = 7 * 24 * 60 * 60_000;
const MAX_NAME = 200;
const EXTENSIONS: Readonly<Record<string, string>> = { 'image/jpeg': 'jpg', 'image/png': 'png', 'image/webp': 'webp' };

/** An image that waits for the worker. */
export interface StoredImage {
  readonly path: string;
  readonly type: string;
  /** The name that the client gave it, to be shown and never used as a path. */
  readonly filename: string;
  readonly bytes: number;
}

/**
 * The images of uploads, from the upload until the job that has read them has ended. Each upload has a directory of its own,
 * whose name the caller chooses. Directories that a process has left when it died are removed after a week.
 */
export class StoredImages {
  readonly #directory: string;
  readonly #timer: NodeJS.Timeout;

  private constructor(directory: string) {
    this.#directory = directory;
    this.#timer = setInterval(() => void this.#sweep(), SWEEP_MS).unref();
  }

  static async open(directory: string): Promise<StoredImages> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const images = new StoredImages(directory);
    await images.#sweep();
    return images;
  }

  /** Stores all files, or none. */
  async add(upload: string, files: readonly UploadedFile[]): Promise<readonly StoredImage[]> {
    const directory = join(this.#directory, upload);
    await mkdir(directory, { mode: 0o700 });
    try {
      const stored: StoredImage[] = [];
      for (const [i, file] of files.entries()) {
        const path = join(directory, `${i + 1}.${EXTENSIONS[file.type] ?? 'image'}`);
        await file.saveTo(path);
        stored.push({ path, type: file.type, filename: nameOf(file, i), bytes: file.bytes });
      }
      return stored;
    } catch (error) {
      await this.remove(upload);
      throw error;
    }
  }

  async remove(upload: string): Promise<void> {
    await rm(join(this.#directory, upload), { recursive: true, force: true });
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #sweep(): Promise<void> {
    const before = Date.now() - LIFETIME_MS;
    for (const name of await readdir(this.#directory).catch(() => [])) {
      const changed = await stat(join(this.#directory, name)).catch(() => undefined);
      if (changed === undefined || changed.mtimeMs >= before) continue;
      // What cannot be removed now is tried again an hour later.
      await this.remove(name).catch(() => undefined);
    }
  }
}

/** Cut, so that the names of all images of a job fit into its store. */
function nameOf({ filename = '' }: UploadedFile, i: number): string {
  return filename.slice(0, MAX_NAME).toWellFormed() || `image-${i + 1}`;
}
