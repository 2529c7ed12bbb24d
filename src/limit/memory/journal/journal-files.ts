import { FILE_HEADER, type FileHeader, readHeader } from './file-header.js';
import { FRAME_HEADER } from './frame-buffer.js';
import { FileBytes, type Frame } from './frame-reader.js';
import { damaged } from './journal-events.js';
import { checkNewest } from './newest-file.js';
import type { NodeModules } from './node-modules.js';
import { CLOCK, CLOSED, COMPLETE, SEALED } from './record-kinds.js';

export const JOURNAL_NAME = /^\d{10}\.journal$/;
/** A file under this ending is not complete yet. */
export const UNFINISHED = '.new';

/** The clocks of the process that wrote a file, at one moment. */
export interface WrittenClock {
  readonly steady: number;
  readonly wall: number;
  readonly uptime: number;
}

/** A file of a journal, as it was found. */
export interface FoundFile {
  readonly path: string;
  readonly header: FileHeader;
  readonly content: FileBytes;
  /** Where its last valid frame ends. */
  readonly end: number;
  readonly frames: number;
  /** Bytes behind `end` that were written and cannot be used. */
  readonly lost: number;
  readonly isClosed: boolean;
  /** Where the copy of all counters ends, so that no earlier file is needed. Zero if it has none. */
  readonly copied: number;
  readonly clock: WrittenClock | undefined;
  /** When its last frame was written, by the clock of windows. */
  readonly time: number | undefined;
  /** Ends of earlier files that are on the disk for good, by number. */
  readonly sealed: ReadonlyMap<number, number>;
}

export function fileName(index: number): string {
  return `${String(index).padStart(10, '0')}.journal`;
}

/**
 * Reads the files of a journal that are needed, the oldest first. `boot` identifies the start of the machine.
 * @throws StoreError for a file that is missing, foreign or damaged where it was complete before
 */
export function findFiles(modules: NodeModules, directory: string, boot: string): readonly FoundFile[] {
  const names = modules.fs.readdirSync(directory).filter((name) => JOURNAL_NAME.test(name));
  names.sort().reverse();
  const found: FoundFile[] = [];
  /** Undefined before the first, which says it. */
  let base: number | undefined;
  for (const name of names) {
    const path = modules.path.join(directory, name);
    const index = Number.parseInt(name, 10);
    const newer = found[0];
    if (newer !== undefined && (base === undefined || index < base)) break;
    const file = readFile(modules, path, boot);
    if (file.header.index !== index) throw damaged(path, 0, `is file ${file.header.index} under another name`);
    if (newer !== undefined) {
      if (newer.header.journal !== file.header.journal) throw damaged(path, 0, 'is of another journal');
      if (index !== newer.header.index - 1) throw missing(modules, directory, newer.header.index - 1);
    }
    found.unshift(file);
    if (file.copied > 0 || file.header.base === index) {
      base = index;
      break;
    }
    base = base === undefined ? file.header.base : Math.min(base, file.header.base);
  }
  const [oldest] = found;
  if (oldest !== undefined && base !== undefined && base < oldest.header.index) {
    throw missing(modules, directory, oldest.header.index - 1);
  }
  checkSealed(found);
  const pathOf = (index: number) => modules.path.join(directory, fileName(index));
  checkNewest(modules, directory, found.at(-1)?.header, pathOf);
  return found;
}

function missing(modules: NodeModules, directory: string, index: number): Error {
  return damaged(modules.path.join(directory, fileName(index)), 0, 'is missing');
}

function checkSealed(files: readonly FoundFile[]): void {
  for (const { sealed } of files) {
    for (const { header, end, path } of files) {
      if (end < (sealed.get(header.index) ?? 0)) throw damaged(path, end, 'has lost records that it had before');
    }
  }
}

function readFile(modules: NodeModules, path: string, boot: string): FoundFile {
  const bytes = readBytes(modules, path);
  const header = readHeader(bytes);
  if (typeof header === 'string') throw damaged(path, 0, header);
  const content = new FileBytes(bytes, header.nonce, modules.zlib.crc32);
  const sealed = new Map<number, number>();
  let clock: WrittenClock | undefined;
  let time: number | undefined;
  let isClosed = false;
  let copied = 0;
  let at = FILE_HEADER;
  let number = 0;
  for (; !isClosed; number++) {
    const frame = content.frameAt(at);
    if (frame === undefined || frame.number !== number) break;
    time = frame.time;
    // What says something about files is the first record of its frame.
    const n = (at + FRAME_HEADER) / 8;
    const kind = (content.words[2 * n] as number) & 0xff;
    const value = (i: number): number => content.numbers[n + i] as number;
    if (kind === CLOCK) clock = { steady: value(1), wall: value(2), uptime: value(3) };
    else if (kind === SEALED) sealed.set(value(1), value(2));
    else if (kind === COMPLETE) copied = frame.end;
    else if (kind === CLOSED) isClosed = true;
    at = frame.end;
  }
  const lost = isClosed || content.isBlankFrom(at) ? 0 : lostBehind(content, header, path, at, number, boot);
  // A file has its whole size from the first, so that no crash and no power failure makes it shorter. Frames may be missing
  // that nothing else shows.
  if (!isClosed && bytes.length < header.size) {
    throw damaged(path, bytes.length, `was truncated: it has ${bytes.length} bytes of ${header.size}`);
  }
  return { path, header, content, end: at, frames: number, lost, isClosed, copied, clock, time, sealed };
}

/**
 * How many bytes behind the last valid frame cannot be used. A crash leaves at most one incomplete frame, at the end. When
 * the power fails, pages that were not yet on the disk for good may be missing in any order. Everything else is damage.
 */
function lostBehind(
  content: FileBytes,
  header: FileHeader,
  path: string,
  at: number,
  number: number,
  boot: string,
): number {
  const first = content.frameBehind(at - 8, number);
  let durable = 0;
  for (let frame: Frame | undefined = first; frame !== undefined; ) {
    durable = Math.max(durable, frame.durable);
    const next: Frame | undefined = content.frameAt(frame.end) ?? content.frameBehind(frame.end - 8, frame.number + 1);
    frame = next;
  }
  const isSameBoot = boot !== '' && boot === header.boot;
  if (first !== undefined && (isSameBoot || durable > at)) {
    throw damaged(path, at, `is damaged before a valid record at byte ${first.start}`);
  }
  const { words } = content;
  let last = words.length - 1;
  while (last > at / 4 && words[last] === 0) last--;
  return 4 * (last + 1) - at;
}

function readBytes({ fs }: NodeModules, path: string): Buffer {
  const descriptor = fs.openSync(path, 'r');
  try {
    const { size } = fs.fstatSync(descriptor);
    // Memory of its own, whose first byte is the first of the file.
    const bytes = Buffer.from(new ArrayBuffer(size));
    let read = 0;
    while (read < size) {
      const more = fs.readSync(descriptor, bytes, read, size - read, read);
      if (more === 0) break;
      read += more;
    }
    return bytes.subarray(0, read);
  } finally {
    fs.closeSync(descriptor);
  }
}
