import { isThenable } from '../../../core/thenable.js';
import { warn } from '../../../core/warning.js';
import { StoreError } from '../../store.js';

/**
 * What a journal reports to `onEvent`.
 * - `cut`: the last records of a file were incomplete and were left out. `offset` is where they begin, `lost` how many bytes
 *   they are. The process or the machine stopped while they were written.
 * - `unavailable`: the journal cannot be written. From now on `onStoreFailure` decides.
 * - `available`: it is written again, and has all that was counted.
 */
export type JournalEvent =
  | { readonly kind: 'cut'; readonly file: string; readonly offset: number; readonly lost: number }
  | { readonly kind: 'unavailable'; readonly error: unknown }
  | { readonly kind: 'available' };

/** Calls `onEvent`, and warns of what an operator has to know. A fault of the callback is printed, and decides about no request. */
export function eventReporter(onEvent: ((event: JournalEvent) => void) | undefined): (event: JournalEvent) => void {
  const failed = (error: unknown) => console.error('gatewarden: the onEvent callback of memoryStore threw:', error);
  return (event) => {
    warnOf(event);
    try {
      const returned: unknown = onEvent?.(event);
      if (isThenable(returned)) Promise.resolve(returned).catch(failed);
    } catch (error) {
      failed(error);
    }
  };
}

function warnOf(event: JournalEvent): void {
  if (event.kind === 'cut') {
    const { file, offset, lost } = event;
    warn(
      `memoryStore "journal": the last ${lost} bytes of ${file} are incomplete, from byte ${offset} on; what was counted there is forgotten`,
      { code: 'GATEWARDEN_JOURNAL_CUT' },
    );
  } else if (event.kind === 'unavailable') {
    const reason = event.error instanceof Error ? event.error.message : String(event.error);
    warn(`memoryStore "journal" cannot be written: ${reason}`, { code: 'GATEWARDEN_JOURNAL_UNAVAILABLE' });
  }
}

/** The error for a file that stops the start: going on would forget what was counted. */
export function damaged(file: string, offset: number, reason: string): StoreError {
  return new StoreError(
    'GATEWARDEN_STORE_DATA',
    `memoryStore "journal" cannot be used: ${file} ${reason}, at byte ${offset}; restore it from a backup, or move ` +
      'the whole directory away to begin with empty counters',
  );
}
