import { badOption, badSecret } from './option.js';

/**
 * A moment: a `Date`, an ISO 8601 string with date, time and zone (`2026-03-01T00:00:00Z`), or epoch milliseconds. All three
 * survive JSON or a database driver.
 */
export type Time = Date | string | number;

const ISO = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})$/;
/** March 1973. A smaller number was meant as seconds, or is not a time. */
const EARLIEST = 100_000_000_000;
/** The end of the year 9999, the last that ISO 8601 writes with four digits. */
const LATEST = 253_402_300_799_999;

export const TIME_RULE =
  'must be a valid Date, an ISO 8601 time with its zone, or epoch milliseconds, from 1973 to 9999';

/** Epoch milliseconds; undefined for anything that is not a `Time`. */
export function epochMilliseconds(value: unknown): number | undefined {
  let time: unknown = value;
  if (value instanceof Date) time = value.getTime();
  else if (typeof value === 'string') time = ISO.test(value) && daysFit(value) ? Date.parse(value) : undefined;
  return typeof time === 'number' && Number.isFinite(time) && time >= EARLIEST && time <= LATEST ? time : undefined;
}

/** `Date.parse` reads the 30th of February as the 2nd of March. */
function daysFit(text: string): boolean {
  const day = text.slice(0, 10);
  const parsed = new Date(`${day}T00:00:00Z`);
  return Number.isFinite(parsed.getTime()) && parsed.toISOString().startsWith(day);
}

/** An optional moment as epoch milliseconds. @throws OptionError */
export function time(factory: string, option: string, value: Time): number;
export function time(factory: string, option: string, value: Time | undefined): number | undefined;
export function time(factory: string, option: string, value: Time | undefined): number | undefined {
  if (value === undefined) return undefined;
  const found = epochMilliseconds(value);
  if (found !== undefined) return found;
  // A string is not shown: a secret may have been put in the wrong place.
  throw typeof value === 'string'
    ? badSecret(factory, option, TIME_RULE)
    : badOption(factory, option, TIME_RULE, value);
}

/** A moment as new records hold it: ISO 8601, which people can read. @throws OptionError */
export function storedTime(factory: string, option: string, value: Time): string {
  return new Date(time(factory, option, value)).toISOString();
}
