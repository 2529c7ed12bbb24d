import { badOption, callback, checkOptionNames, type OptionNames, oneOf, text } from '../../../core/option.js';
import type { JournalEvent } from './journal-events.js';

/** What a memory store decides while its journal cannot be written. */
export type OnJournalFailure = 'refuse' | 'admit' | 'local';

/** Where a memory store writes down what it has counted. */
export interface JournalOptions {
  /**
   * A directory for the journal alone, on a disk of this machine. It is made if it does not exist. One store of one process
   * uses it at a time.
   */
  readonly directory: string;
  /**
   * When a charge is written. Default `each`.
   * - `each`: before the decision is returned. A process that is killed forgets nothing that it has admitted.
   * - `turn`: once for all decisions of one turn of the event loop. A process that is killed forgets at most the last turn.
   *
   * In both cases, the system is asked every second to bring all to the disk, so that a power failure loses at most about
   * the last second.
   */
  readonly sync?: 'each' | 'turn' | undefined;
  /**
   * What happens to a request if the journal cannot be written, such as on a full disk. Default `refuse`.
   * - `refuse`: it is refused with 503.
   * - `admit`: it is admitted and not counted. Requests under a policy with leases are refused.
   * - `local`: this process counts it in memory only, and writes it when the disk can be written again.
   */
  readonly onStoreFailure?: OnJournalFailure | undefined;
  /** Called at every change of state, and when the end of a file was left out at the start. */
  readonly onEvent?: ((event: JournalEvent) => void) | undefined;
}

const JOURNAL = 'memoryStore "journal"';
const OPTIONS: OptionNames<JournalOptions> = { directory: true, sync: true, onStoreFailure: true, onEvent: true };

/** The checked options. */
export interface JournalSettings {
  readonly directory: string;
  readonly sync: 'each' | 'turn';
  readonly mode: OnJournalFailure;
  readonly onEvent: ((event: JournalEvent) => void) | undefined;
}

/** @throws OptionError */
export function checkJournal(options: JournalOptions): JournalSettings {
  checkOptionNames(JOURNAL, options, OPTIONS);
  const directory = text(JOURNAL, 'directory', options.directory);
  if (directory.includes('\0')) throw badOption(JOURNAL, 'directory', 'must be a path', directory);
  return {
    directory,
    sync: oneOf(JOURNAL, 'sync', options.sync ?? 'each', ['each', 'turn']),
    mode: oneOf(JOURNAL, 'onStoreFailure', options.onStoreFailure ?? 'refuse', ['refuse', 'admit', 'local']),
    onEvent: callback(JOURNAL, 'onEvent', options.onEvent),
  };
}
