import { badOption } from './option.js';

/** A length of time with its unit: `'500ms'`, `'30s'`, `'15m'`, `'24h'`, `'7d'`. */
export type Duration = `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`;

const UNITS: Readonly<Record<string, number>> = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
const FORM = /^(\d{1,15}(?:\.\d{1,3})?)(ms|s|m|h|d)$/;
const BARE = /^\d+$/;

/**
 * Reads a duration as a whole number of milliseconds, from `min` to `max`. A bare number is refused: `60` may have been
 * meant as seconds or as milliseconds.
 * @throws OptionError
 */
export function milliseconds(
  factory: string,
  option: string,
  value: unknown,
  max = Number.MAX_SAFE_INTEGER,
  min = 1,
): number {
  if ((typeof value === 'number' || typeof value === 'string') && BARE.test(String(value))) {
    throw badOption(factory, option, 'needs a unit', value, `write '${value}s' or '${value}ms'`);
  }
  const [, amount, unit] = (typeof value === 'string' && FORM.exec(value)) || [];
  const exact = Number(amount) * (UNITS[unit ?? ''] ?? Number.NaN);
  const whole = Math.round(exact);
  // Decimal fractions are not exact in binary: 1.1 s is 1100.0000000000002 ms.
  if (!Number.isSafeInteger(whole) || Math.abs(exact - whole) > 1e-6) {
    throw badOption(factory, option, "must be a length of time such as '500ms', '30s', '15m' or '24h'", value);
  }
  if (whole < min) throw badOption(factory, option, `must be at least '${durationOf(min)}'`, value);
  if (whole > max) throw badOption(factory, option, `must be at most '${durationOf(max)}'`, value);
  return whole;
}

/** A duration as a number of milliseconds, for timers of your own. @throws OptionError for a value that is not a duration */
export function toMilliseconds(duration: Duration): number {
  return milliseconds('toMilliseconds', 'duration', duration, Number.MAX_SAFE_INTEGER, 0);
}

/** Milliseconds as a duration, in the largest unit that expresses them exactly. */
export function durationOf(ms: number): Duration {
  const unit = Object.keys(UNITS).find((name) => ms % (UNITS[name] ?? 1) === 0) ?? 'ms';
  return `${ms / (UNITS[unit] ?? 1)}${unit}` as Duration;
}
