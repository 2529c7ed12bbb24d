import { dayNames } from '../core/calendar-day.js';

/** A calendar day, from `start` to before `end`, in epoch milliseconds. */
export interface Day {
  readonly start: number;
  readonly end: number;
}

const DAY = 86_400_000;
/** Longer than any calendar day, even beside a skipped date. */
const REACH = 50 * 3_600_000;

/**
 * Returns a function that finds the calendar day of a moment in one time zone, and remembers the latest. Undefined for an
 * unknown time zone.
 */
export function dayCalendar(timeZone: string): ((now: number) => Day) | undefined {
  const find = timeZone === 'UTC' ? utcDay : zonedDay(timeZone);
  if (find === undefined) return undefined;
  let latest: Day = { start: 0, end: 0 };
  return (now) => {
    if (now < latest.start || now >= latest.end) latest = find(now);
    return latest;
  };
}

function utcDay(now: number): Day {
  const start = Math.floor(now / DAY) * DAY;
  return { start, end: start + DAY };
}

function zonedDay(timeZone: string): ((now: number) => Day) | undefined {
  const nameAt = dayNames(timeZone);
  if (nameAt === undefined) return undefined;
  /** The date as a number: 20250615. */
  const dateAt = (time: number) => Number(nameAt(time).replaceAll('-', ''));
  // A day may start at 01:00, last 23 or 25 hours, or be skipped. So its edges are searched for, not computed.
  const firstTime = (before: number, after: number, isReached: (date: number) => boolean): number => {
    let low = before;
    let high = after;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (isReached(dateAt(middle))) high = middle;
      else low = middle;
    }
    return high;
  };
  return (now) => {
    const today = dateAt(now);
    return {
      start: firstTime(now - REACH, now, (date) => date >= today),
      end: firstTime(now, now + REACH, (date) => date > today),
    };
  };
}
