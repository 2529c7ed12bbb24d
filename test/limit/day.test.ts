import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dayCalendar } from '../../src/limit/day.js';

const HOUR = 3_600_000;

const DAYS: readonly [zone: string, moment: string, start: string, end: string, hours: number][] = [
  ['UTC', '2025-06-15T12:00Z', '2025-06-15T00:00Z', '2025-06-16T00:00Z', 24],
  ['UTC', '1970-01-01T00:00Z', '1970-01-01T00:00Z', '1970-01-02T00:00Z', 24],
  ['Etc/UTC', '2025-06-15T23:59:59.999Z', '2025-06-15T00:00Z', '2025-06-16T00:00Z', 24],
  ['Europe/Berlin', '2025-03-30T00:59:59.999Z', '2025-03-29T23:00Z', '2025-03-30T22:00Z', 23],
  ['Europe/Berlin', '2025-03-30T01:00Z', '2025-03-29T23:00Z', '2025-03-30T22:00Z', 23],
  ['Europe/Berlin', '2025-10-26T00:30Z', '2025-10-25T22:00Z', '2025-10-26T23:00Z', 25],
  ['Europe/Berlin', '2025-10-26T01:30Z', '2025-10-25T22:00Z', '2025-10-26T23:00Z', 25],
  ['America/New_York', '2025-03-09T12:00Z', '2025-03-09T05:00Z', '2025-03-10T04:00Z', 23],
  ['America/New_York', '2025-11-02T12:00Z', '2025-11-02T04:00Z', '2025-11-03T05:00Z', 25],
  ['Australia/Lord_Howe', '2025-04-05T20:00Z', '2025-04-05T13:00Z', '2025-04-06T13:30Z', 24.5],
  ['Africa/Cairo', '2024-04-26T12:00Z', '2024-04-25T22:00Z', '2024-04-26T21:00Z', 23],
  ['Africa/Cairo', '2024-10-31T21:30Z', '2024-10-30T21:00Z', '2024-10-31T22:00Z', 25],
  ['America/Asuncion', '2023-10-01T12:00Z', '2023-10-01T04:00Z', '2023-10-02T03:00Z', 23],
  ['Pacific/Apia', '2011-12-30T09:59:59.999Z', '2011-12-29T10:00Z', '2011-12-30T10:00Z', 24],
  ['Pacific/Apia', '2011-12-30T10:00Z', '2011-12-30T10:00Z', '2011-12-31T10:00Z', 24],
  ['Pacific/Kiritimati', '2025-06-15T12:00Z', '2025-06-15T10:00Z', '2025-06-16T10:00Z', 24],
];

const ZONES = [...new Set(DAYS.map(([zone]) => zone)), 'Asia/Kathmandu', 'Asia/Beirut', 'Africa/Casablanca'];

function calendarOf(zone: string): NonNullable<ReturnType<typeof dayCalendar>> {
  const dayOf = dayCalendar(zone);
  if (dayOf === undefined) throw new Error(`unknown time zone ${zone}`);
  return dayOf;
}

describe('a calendar day', () => {
  it.each(DAYS)('in %s at %s lasts from %s to %s: %d hours', (zone, moment, start, end, hours) => {
    const day = calendarOf(zone)(Date.parse(moment));
    expect(day).toEqual({ start: Date.parse(start), end: Date.parse(end) });
    expect(day.end - day.start).toBe(hours * HOUR);
  });

  it.each(ZONES)('in %s contains its moment, follows the previous day without a gap, and has one date', (zone) => {
    const date = new Intl.DateTimeFormat('en-CA', { timeZone: zone, dateStyle: 'short' });
    const dayOf = calendarOf(zone);
    fc.assert(
      fc.property(fc.integer({ min: Date.UTC(2000, 0, 1), max: Date.UTC(2035, 0, 1) }), (moment) => {
        const { start, end } = dayOf(moment);
        expect(start).toBeLessThanOrEqual(moment);
        expect(end).toBeGreaterThan(moment);
        expect(dayOf(start)).toEqual({ start, end });
        expect(dayOf(end - 1)).toEqual({ start, end });
        expect(dayOf(start - 1).end).toBe(start);
        expect(dayOf(end).start).toBe(end);
        const dates = [start, moment, end - 1].map((time) => date.format(time));
        expect(new Set(dates).size).toBe(1);
        expect(date.format(start - 1)).not.toBe(dates[0]);
        expect(date.format(end)).not.toBe(dates[0]);
      }),
      { numRuns: 100 },
    );
  });

  it.each(['', 'Mars/Olympus', 'Europe/berlin\n', 'CEST'])('is undefined in the unknown time zone %j', (zone) => {
    expect(dayCalendar(zone)).toBeUndefined();
  });

  it.each([undefined, null, 1, {}])('is undefined in %o, which is not a time zone', (zone) => {
    expect(dayCalendar(zone as string)).toBeUndefined();
  });
});
