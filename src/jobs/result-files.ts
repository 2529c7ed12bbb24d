import type { Readable } from 'node:stream';

/** Part of a file: the first and the last byte, counted from 0. */
export interface FileRange {
  readonly start: number;
  readonly end: number;
}

/**
 * Keeps the files that jobs make. `folder` is one. Others can be written, for example for an object storage. Ids of jobs are
 * 22 letters, digits, `-` and `_`. Names of files are checked before: they are safe as names in a directory.
 */
export interface ResultFiles {
  /**
   * Stores a file. It is there whole when the promise is fulfilled, and not at all when it rejects, which it must do if
   * `body` fails.
   */
  save(job: string, name: string, body: Readable): Promise<void>;
  /** Opens a file, or a part of it. Rejects if there is no such file. */
  open(job: string, name: string, range?: FileRange): Promise<Readable>;
  /** Removes all files of a job. There may be none. */
  remove(job: string): Promise<void>;
  /** The ids of all jobs that may have files, so that those of jobs that are gone can be removed. */
  list(): AsyncIterable<string>;
}

/** No longer than what every file system takes, in bytes, with room for the name of a draft. */
const MAX_NAME_BYTES = 200;
/** Control characters, and what some file system or shell treats as special. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: names must not have them.
const UNSAFE = /[\x00-\x1f\x7f-\x9f/\\:*?"<>|\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/;
/** Names of devices on Windows, with any extension. */
const DEVICE = /^(?:con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3]|conin\$|conout\$)(?:\.|$)/i;

/** Whether a name is safe as the name of a file in a directory, on every system. */
export function isSafeName(name: unknown): name is string {
  return (
    typeof name === 'string' &&
    name !== '' &&
    Buffer.byteLength(name) <= MAX_NAME_BYTES &&
    name.isWellFormed() &&
    !name.startsWith('.') &&
    !/[. ]$/.test(name) &&
    !UNSAFE.test(name) &&
    !DEVICE.test(name)
  );
}

/** The form in which two names are one file on some system. */
export function foldedName(name: string): string {
  return name.normalize('NFKC').toLowerCase().normalize('NFKC');
}
