import { inspect } from 'node:util';
import { callerOf, correctUse } from './caller.js';
import { isThenable } from './thenable.js';

/** Thrown by a factory whose options cannot be used. Its message names the factory and the option. */
export class OptionError extends TypeError {
  readonly code = 'GATEWARDEN_BAD_OPTION';
  override readonly name = 'OptionError';
}

const ONE_LINE = { compact: true, breakLength: Number.POSITIVE_INFINITY };

/** An `OptionError` that shows the bad value and, where the rule does not say it, the remedy. Never use it for a secret: see `badSecret`. */
export function badOption(factory: string, option: string, rule: string, value: unknown, remedy?: string): OptionError {
  const after = remedy === undefined ? '' : `; ${remedy}`;
  return new OptionError(`gatewarden: ${factory} "${option}" ${rule}, got ${shown(value)}${after}`);
}

/** A value as a message shows it: primitives and lists of them in full, objects only by type, since they may hold a secret. */
export function shown(value: unknown): string {
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

const WITHOUT_VALUE = new WeakSet<OptionError>();

/** An `OptionError` about a secret: it states the rule and shows nothing of the value. */
export function badSecret(factory: string, option: string, rule: string): OptionError {
  const error = new OptionError(`gatewarden: ${factory} "${option}" ${rule}`);
  WITHOUT_VALUE.add(error);
  return error;
}

/** Whether `badSecret` made the error, so that its message can be shown for a secret. */
export function hidesValue(error: OptionError): boolean {
  return WITHOUT_VALUE.has(error);
}

/** The names of a factory's options. The compiler reports a name that is missing, and one that the options do not have. */
export type OptionNames<Options> = Readonly<Record<keyof Options, true>>;

/**
 * Refuses a value that is not an object of options, and any name that is not in `known`: an option must not be lost because
 * it is misspelt, in a promise or in a `Map`.
 */
export function checkOptionNames(factory: string, options: unknown, known: Readonly<Record<string, unknown>>): void {
  if (typeof options !== 'object' || options === null || Symbol.iterator in options || isThenable(options)) {
    // A factory such as `upload "decode"` is an option that is an object itself.
    const example = factory.includes('"') ? '' : `: ${factory}({ ... })`;
    const got = isThenable(options) ? ', got a promise; wait for it' : '';
    throw new OptionError(`gatewarden: ${factory} takes an object of options${example}${got}`);
  }
  const caller = callerOf(options);
  if (caller !== undefined) {
    const remedy = correctUse(caller, `${factory}(...)`);
    throw new OptionError(`gatewarden: ${factory} was passed without being called; write ${remedy}`);
  }
  const names = Object.keys(known);
  for (const name of Object.keys(options)) {
    if (names.includes(name)) continue;
    const meant = closest(name, names);
    const hint = meant === undefined ? '' : ` Did you mean "${meant}"?`;
    throw new OptionError(`gatewarden: ${factory} has no option "${name}".${hint} It takes ${names.join(', ')}`);
  }
}

/** The known name that a misspelt one is most like: another case, a letter or two more, fewer or changed. */
function closest(name: string, names: readonly string[]): string | undefined {
  const distances = names.map((known) => distance(name.toLowerCase(), known.toLowerCase()));
  const least = Math.min(...distances);
  return least <= Math.min(2, name.length / 2) ? names[distances.indexOf(least)] : undefined;
}

/** Levenshtein's edit distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(changed, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** Checks a whole number from 1 to `max`. @throws OptionError */
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

/** Checks one of a few words. @throws OptionError */
export function oneOf<T extends string>(factory: string, option: string, value: unknown, allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === value);
  if (found === undefined) throw badOption(factory, option, `must be one of ${allowed.join(', ')}`, value);
  return found;
}

/** Checks a boolean. @throws OptionError */
export function boolean(factory: string, option: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw badOption(factory, option, 'must be true or false', value);
  return value;
}

/** Checks an optional function. @throws OptionError */
export function callback<T extends ((...args: never[]) => unknown) | undefined>(
  factory: string,
  option: string,
  value: T,
): T {
  if (value !== undefined && typeof value !== 'function') throw badOption(factory, option, 'must be a function', value);
  return value;
}

/** Checks the option `now`. Without it, the system's clock in epoch milliseconds. @throws OptionError */
export function clock(factory: string, now: (() => number) | undefined): () => number {
  return callback(factory, 'now', now) ?? systemClock;
}

/** Looks `Date.now` up at each call, so that fake timers reach it. */
function systemClock(): number {
  return Date.now();
}

/** Checks a non-empty string that is no secret. @throws OptionError */
export function text(factory: string, option: string, value: unknown): string {
  if (typeof value !== 'string' || value === '') throw badOption(factory, option, 'must be a non-empty string', value);
  return value;
}

/** The error for an option that turns a check on and is present as `undefined`, such as the value of an unset variable. */
export function unsetCheck(factory: string, option: string): OptionError {
  return badOption(factory, option, 'must have a value', undefined, 'to skip this check, leave the option out');
}
