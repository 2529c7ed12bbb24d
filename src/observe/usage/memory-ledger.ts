import { checkBooking } from '../../core/check-booking.js';
import { type Duration, milliseconds } from '../../core/duration.js';
import { checkFolderOf, checkLastingFiles } from '../../core/lasting-files.js';
import type { JobBooking, Ledger, UsageChange, UsagePage, UsageQuery } from '../../core/ledger.js';
import { checkOptionNames, type OptionNames, positiveInteger, text } from '../../core/option.js';
import { currentDay, type LedgerDayOptions } from './ledger-days.js';
import { LedgerFile } from './ledger-file.js';
import { MemoryRows } from './memory-rows.js';

/** Options of `memoryLedger`. */
export interface MemoryLedgerOptions extends LedgerDayOptions {
  /** How many days are kept, today included. What they add up to stays. Default 31, at most 400. */
  readonly keepDays?: number | undefined;
  /**
   * The most clients that have rows. Those that come later are counted together as `others`. Default 10,000, at most
   * 1,000,000.
   */
  readonly maxClients?: number | undefined;
  /** The path of a file in which the ledger is kept. Only one process may use it. Default: it ends with the process. */
  readonly file?: string | undefined;
  /** How often the file is written if something has changed. Default `'5s'`. */
  readonly interval?: Duration | undefined;
}

/** A ledger in this process' memory. None of its methods but `close` and `save` returns a promise. */
export interface MemoryLedger extends Ledger {
  add(changes: readonly UsageChange[]): void;
  book(bookings: readonly JobBooking[]): void;
  read(query?: UsageQuery): UsagePage;
  /** Writes the file now. Resolves when it is on the disk. Without a file, does nothing. */
  save(): Promise<void>;
  /** Writes the file for the last time. Call it at SIGTERM, after the server has ended its requests. */
  close(): Promise<void>;
}

const OPTIONS: OptionNames<MemoryLedgerOptions> = {
  timeZone: true,
  keepDays: true,
  maxClients: true,
  file: true,
  interval: true,
  now: true,
};

/**
 * Makes a ledger in this process' memory, for a service of one process. With `file`, it survives a restart: nothing is lost
 * at a SIGTERM that ends in `close()`, and at most one interval by a `kill -9`. The file is replaced as a whole, so it is
 * never half written.
 *
 * ```ts
 * const ledger = memoryLedger({ file: 'usage.json' })
 * ```
 * @throws OptionError, and Error for a file that cannot be read or is no ledger
 */
export function memoryLedger(options: MemoryLedgerOptions = {}): MemoryLedger {
  checkOptionNames('memoryLedger', options, OPTIONS);
  const today = currentDay('memoryLedger', options);
  const keepDays = positiveInteger('memoryLedger', 'keepDays', options.keepDays ?? 31, 400);
  const maxClients = positiveInteger('memoryLedger', 'maxClients', options.maxClients ?? 10_000, 1_000_000);
  const interval = milliseconds('memoryLedger', 'interval', options.interval ?? '5s', 3_600_000);
  if (options.file !== undefined) checkLastingFiles('memoryLedger', 'file');
  const path = options.file === undefined ? undefined : text('memoryLedger', 'file', options.file);
  if (path !== undefined) checkFolderOf('memoryLedger', 'file', path);
  const rows = new MemoryRows(keepDays, maxClients);
  const file = path === undefined ? undefined : new LedgerFile(path, interval, rows);

  return {
    add(changes) {
      const day = today();
      for (const change of changes) rows.add(day, change);
      file?.changed();
    },
    book(bookings) {
      bookings.forEach(checkBooking);
      const day = today();
      for (const booking of bookings) rows.book(day, booking);
      file?.changed();
    },
    read: (query) => rows.read(query),
    today,
    async save() {
      await file?.save();
    },
    async close() {
      await file?.close();
    },
  };
}
