import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, open, opendir, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { checkLastingFiles } from '../core/lasting-files.js';
import { checkOptionNames, type OptionNames, text } from '../core/option.js';
import { isJobId } from './job-owner.js';
import { type FileRange, isSafeName, type ResultFiles } from './result-files.js';

/** Options of `folder`. */
export interface FolderOptions {
  /** Where the files are: a directory of its own, since all that looks like a job's in it may be removed. It is created if need be. */
  readonly directory: string;
}

const OPTIONS: OptionNames<FolderOptions> = { directory: true };
const PRIVATE_DIRECTORY = 0o700;
const PRIVATE_FILE = 0o600;

/**
 * Keeps the files of jobs in a directory, in one directory for each job. Only this user can read them. A file appears whole
 * or not at all.
 *
 * ```ts
 * const queue = jobs({ store: memoryJobStore(), results: folder({ directory: '/var/lib/meshes' }) })
 * ```
 * @throws OptionError
 */
export function folder(options: FolderOptions): ResultFiles {
  checkOptionNames('folder', options, OPTIONS);
  checkLastingFiles('folder', 'directory');
  const root = resolve(text('folder', 'directory', options.directory));

  function pathOf(job: string, name: string): string {
    if (!isSafeName(name)) throw new TypeError('gatewarden: folder was given a file name that is not safe');
    return join(directoryOf(job), name);
  }

  function directoryOf(job: string): string {
    if (!isJobId(job)) throw new TypeError('gatewarden: folder was given something else than the id of a job');
    return join(root, job);
  }

  return {
    async save(job: string, name: string, body: Readable) {
      const path = pathOf(job, name);
      await mkdir(directoryOf(job), { recursive: true, mode: PRIVATE_DIRECTORY });
      // A name that no file of a job can have.
      const draft = join(directoryOf(job), `.${randomUUID()}`);
      try {
        await pipeline(body, createWriteStream(draft, { flags: 'wx', mode: PRIVATE_FILE }));
        await rename(draft, path);
      } catch (error) {
        await rm(draft, { force: true }).catch(() => undefined);
        throw error;
      }
    },
    async open(job: string, name: string, range?: FileRange) {
      const file = await open(pathOf(job, name), 'r');
      return file.createReadStream(range === undefined ? {} : { start: range.start, end: range.end });
    },
    async remove(job: string) {
      await rm(directoryOf(job), { recursive: true, force: true });
    },
    async *list() {
      const entries = await opendir(root).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined;
        throw error;
      });
      if (entries === undefined) return;
      for await (const entry of entries) if (entry.isDirectory() && isJobId(entry.name)) yield entry.name;
    },
  };
}
