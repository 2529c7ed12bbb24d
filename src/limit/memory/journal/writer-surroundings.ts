import type { StoreClock } from '../store-clock.js';
import type { JournalEvent } from './journal-events.js';
import type { JournalFile } from './journal-file.js';
import type { JournalLock } from './journal-lock.js';
import type { NodeModules } from './node-modules.js';

/** What a writer needs around it. */
export interface WriterSurroundings {
  readonly modules: NodeModules;
  readonly lock: JournalLock;
  readonly clock: StoreClock;
  readonly sync: 'each' | 'turn';
  readonly report: (event: JournalEvent) => void;
  /** Makes the next file, unless it `isWanted` no more by then. */
  readonly nextFile: (after: JournalFile, isWanted: () => boolean) => Promise<JournalFile>;
  readonly nextFileNow: (after: JournalFile) => JournalFile;
  /** Called with a file to which all counters were copied: the next one needs as much room. */
  readonly copied: (file: JournalFile) => void;
  /** Removes the files before this one, which has all counters. */
  readonly removeBefore: (file: JournalFile, isNow: boolean) => void;
}
