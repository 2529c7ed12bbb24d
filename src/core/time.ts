import { badOption } from './option.js';

/**
 * A moment, in a form that survives JSON or a database driver: epoch milliseconds, ISO 8601 with date, time and zone
 * (`2026-03-01T00:00:00Z`), or a `Date`.
 */
export type KeyTime = number | string | Date;

const ISO = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})$/;
/** March 1973: what is below was meant to be seconds, or is not a time. */
const EARLIEST = 100_000_000_000;
/** The end of the year 9999, the last that ISO 8601 writes with four digits. */
const LATEST = 253_402_300_799_999;

export const KEY_TIME_RULE =
  'must be epoch milliseconds, an ISO 8601 time with its zone, or a valid Date, from 1973 to 9999';

/** Epoch milliseconds; undefined for anything that is no `KeyTime`. */
export function epochMilliseconds(value: unknown): number | undefined {
  let time: unknown = value;
  if (value instanceof Date) time = value.getTime();
  else if (typeof value === 'string') time = ISO.test(value) && daysFit(value) ? Date.parse(value) : undefined;
  return typeof time === 'number' && Number.isFinite(time) && time >= EARLIEST && time <= LATEST ? time : undefined;
}

/** `Date.parse` takes the 30th of February for the 2nd of March. */
function daysFit(text: string): boolean {
  const day = text.slice(0, 10);
  const parsed = new Date(`${day}T00:00:00Z`);
  return Number.isFinite(parsed.getTime()) && parsed.toISOString().startsWith(day);
}

/**
 * A moment as new records hold it: ISO 8601, which people can read.
 * @throws OptionError
 */
export function storedTime(factory: string, option: string, value: KeyTime): string {
  const time = epochMilliseconds(value);
  if (time === undefined) throw badOption(factory, option, KEY_TIME_RULE, value);
  return new Date(time).toISOString();
}
