import { inspect } from 'node:util';

/** Thrown by a factory whose options cannot be used. Its message names the factory and the option. */
export class OptionError extends TypeError {
  readonly code = 'GATEWARDEN_BAD_OPTION';
  override readonly name = 'OptionError';
}

const ONE_LINE = { compact: true, breakLength: Number.POSITIVE_INFINITY };

/** An `OptionError` that shows the bad value. Never for a secret: see `badSecret`. */
export function badOption(factory: string, option: string, rule: string, value: unknown): OptionError {
  return new OptionError(`gatewarden: ${factory} "${option}" ${rule}, got ${shown(value)}`);
}

/** A value for a message: primitives and lists of them in full, of objects only the type, as they may hold a secret. */
function shown(value: unknown): string {
  if (Array.isArray(value)) {
    if (value.length === 0) return '[]';
    const items = value.slice(0, 10).map(shown);
    return `[ ${[...items, ...(value.length > 10 ? [`... ${value.length - 10} more`] : [])].join(', ')} ]`;
  }
  if (typeof value === 'object' && value !== null && !(value instanceof Date)) {
    return `[${Object.getPrototypeOf(value)?.constructor?.name ?? 'Object'}]`;
  }
  return inspect(value, { ...ONE_LINE, depth: 0, maxStringLength: 80 });
}

/** An `OptionError` about a secret: it tells the rule and shows nothing of the value. */
export function badSecret(factory: string, option: string, rule: string): OptionError {
  return new OptionError(`gatewarden: ${factory} "${option}" ${rule}`);
}

/** Refuses what is not an object and any name that the factory does not know: a misspelt setting must not be lost. */
export function checkOptionNames(factory: string, options: unknown, names: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new OptionError(`gatewarden: ${factory} takes an object of options`);
  }
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) {
      throw new OptionError(`gatewarden: ${factory} has no option "${name}"; it knows ${names.join(', ')}`);
    }
  }
}

export function positiveInteger(
  factory: string,
  option: string,
  value: unknown,
  max = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1) {
    throw badOption(factory, option, 'must be a positive integer', value);
  }
  if (value > max) throw badOption(factory, option, `must be at most ${max}`, value);
  return value;
}

export function oneOf<T extends string>(factory: string, option: string, value: unknown, allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === value);
  if (found === undefined) throw badOption(factory, option, `must be one of ${allowed.join(', ')}`, value);
  return found;
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A length of time: milliseconds as a number, or a string such as `'500ms'`, `'30s'`, `'15m'`, `'24h'`, `'7d'`. */
export type Duration = number | string;

/** Reads a duration as a positive whole number of milliseconds. */
export function milliseconds(factory: string, option: string, value: Duration, max = Number.MAX_SAFE_INTEGER): number {
  const rule = "must be a positive duration: whole milliseconds, or a string such as '30s' or '24h'";
  let result = value;
  if (typeof value === 'string') {
    const match = /^(\d{1,15})(ms|s|m|h|d)$/.exec(value);
    const unit = UNITS[match?.[2] ?? ''];
    if (match === null || unit === undefined) throw badOption(factory, option, rule, value);
    result = Number(match[1]) * unit;
  }
  if (typeof result !== 'number' || !Number.isSafeInteger(result) || result < 1) {
    throw badOption(factory, option, rule, value);
  }
  if (result > max) throw badOption(factory, option, `must be at most ${max} ms`, value);
  return result;
}

const SIZES: Readonly<Record<string, number>> = { b: 1, kb: 1024, mb: 1_048_576, gb: 1_073_741_824 };

/** A size: bytes as a number, or a string such as `'64kb'`, `'50mb'`, `'1gb'`, by powers of 1024. */
export type Size = number | string;

/** Reads a size as a positive whole number of bytes. */
export function bytes(factory: string, option: string, value: Size, max = Number.MAX_SAFE_INTEGER): number {
  const rule = "must be a positive size: whole bytes, or a string such as '64kb' or '50mb'";
  let result = value;
  if (typeof value === 'string') {
    const match = /^(\d{1,12})(b|kb|mb|gb)$/i.exec(value);
    const unit = SIZES[match?.[2]?.toLowerCase() ?? ''];
    if (match === null || unit === undefined) throw badOption(factory, option, rule, value);
    result = Number(match[1]) * unit;
  }
  if (typeof result !== 'number' || !Number.isSafeInteger(result) || result < 1) {
    throw badOption(factory, option, rule, value);
  }
  if (result > max) throw badOption(factory, option, `must be at most ${max} bytes`, value);
  return result;
}
