import { calendarDay } from '../../core/calendar-day.js';
import { badOption, clock } from '../../core/option.js';

/** How a ledger tells the days apart. */
export interface LedgerDayOptions {
  /** The time zone in which days begin, such as `Europe/Berlin`. All processes of a ledger must have the same. Default `UTC`. */
  readonly timeZone?: string | undefined;
  /** Returns the time in epoch milliseconds. Default: the system's clock. */
  readonly now?: (() => number) | undefined;
}

/** Returns a function that names the current day. @throws OptionError */
export function currentDay(factory: string, { timeZone = 'UTC', now }: LedgerDayOptions): () => string {
  const dayOf = calendarDay(timeZone);
  if (dayOf === undefined) throw badOption(factory, 'timeZone', 'must be a time zone such as Europe/Berlin', timeZone);
  const time = clock(factory, now);
  return () => dayOf(time());
}
