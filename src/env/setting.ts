import { type Duration, milliseconds } from '../core/duration.js';
import { badOption, badSecret, OptionError } from '../core/option.js';
import { bytes, type Size } from '../core/size.js';

/** How one environment variable is read. Made by `text`, `integer`, `secret` and the like. */
export interface Setting<T> {
  /** The value of a text that is there, without white space around. @throws OptionError */
  read(name: string, text: string): T;
  /** The value where the variable is not set; undefined where it must be. */
  readonly fallback: { readonly value: T } | undefined;
  readonly isSecret: boolean;
  /** The value as a start-up message may show it. */
  show(value: T): string;
}

/** Where a variable is not set: a value to take instead, or nothing. Without either the variable must be set. */
export type Unset<T, O> = O extends { readonly optional: true } ? T | undefined : T;

interface Fallback<T> {
  /** Taken where the variable is not set. */
  readonly default?: T;
  /** Whether it may be left out; it is undefined then. */
  readonly optional?: boolean;
}

const FACTORY = 'the environment';
const TRUE = ['true', '1', 'yes', 'on'];
const FALSE = ['false', '0', 'no', 'off'];

function setting<T, O extends Fallback<unknown>>(
  options: O,
  read: (name: string, text: string) => T,
  show: (value: T) => string = String,
  isSecret = false,
): Setting<Unset<T, O>> {
  const { optional = false } = options;
  // A default is read as a variable would be: a bad one stops the start as well.
  const value = options.default === undefined ? undefined : read('default', textOf(options.default));
  return {
    read: read as (name: string, text: string) => Unset<T, O>,
    fallback: value !== undefined || optional ? { value: value as Unset<T, O> } : undefined,
    isSecret,
    show: (shown) => (shown === undefined ? 'not set' : show(shown as T)),
  };
}

/** A default as it would stand in the environment; a number of milliseconds or bytes says its unit. */
function textOf(value: unknown): string {
  return Array.isArray(value) ? value.join(',') : String(value);
}

/** Any text. */
export function text<const O extends Fallback<string> & { readonly pattern?: RegExp; readonly rule?: string }>(
  options: O = {} as O,
): Setting<Unset<string, O>> {
  const { pattern, rule = 'must be of another form' } = options;
  return setting(options, (name, value) => {
    if (pattern !== undefined && value.search(pattern) === -1) throw badOption(FACTORY, name, rule, value);
    return value;
  });
}

/** A whole number from `min` (0 unless set otherwise) to `max`. */
export function integer<const O extends Fallback<number> & { readonly min?: number; readonly max?: number }>(
  options: O = {} as O,
): Setting<Unset<number, O>> {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = options;
  return setting(options, (name, value) => {
    const number = Number(value);
    if (!/^-?\d{1,16}$/.test(value) || number < min || number > max) {
      throw badOption(FACTORY, name, `must be a whole number from ${min} to ${max}`, value);
    }
    return number;
  });
}

/** A TCP port; 0 lets the system choose. */
export function port<const O extends Fallback<number>>(options: O = {} as O): Setting<Unset<number, O>> {
  return integer({ ...options, min: 0, max: 65_535 }) as Setting<Unset<number, O>>;
}

/** `true`, `1`, `yes`, `on`, or `false`, `0`, `no`, `off`, in any case. */
export function boolean<const O extends Fallback<boolean>>(options: O = {} as O): Setting<Unset<boolean, O>> {
  return setting(options, (name, value) => {
    const word = value.toLowerCase();
    if (!TRUE.includes(word) && !FALSE.includes(word)) throw badOption(FACTORY, name, 'must be true or false', value);
    return TRUE.includes(word);
  });
}

/** One of these words, in any case. */
export function choice<const W extends readonly string[], const O extends Fallback<W[number]>>(
  words: W,
  options: O = {} as O,
): Setting<Unset<W[number], O>> {
  return setting(options, (name, value): W[number] => {
    const found = words.find((word) => word.toLowerCase() === value.toLowerCase());
    if (found === undefined) throw badOption(FACTORY, name, `must be one of ${words.join(', ')}`, value);
    return found;
  });
}

/**
 * A length of time such as `30s` or `24h`, as guards take it; `toMilliseconds` makes a number of it. A bare number stops the
 * start, unless `bare` says its unit, for a service whose settings are documented as bare seconds.
 */
export function duration<const O extends Fallback<Duration> & { readonly bare?: 'ms' | 's' | 'm' | 'h' | 'd' }>(
  options: O = {} as O,
): Setting<Unset<Duration, O>> {
  const { bare, default: fallback } = options;
  // The unit of a default is part of the code, and never left to `bare`.
  if (fallback !== undefined) milliseconds('duration', 'default', fallback);
  return setting(options, (name, value) => {
    const withUnit = bare !== undefined && /^\d+$/.test(value) ? `${value}${bare}` : value;
    milliseconds(FACTORY, name, withUnit);
    return withUnit as Duration;
  });
}

/** A size such as `50mb`, in bytes. A bare number counts in `bare`, bytes by default. */
export function size<const O extends Fallback<Size> & { readonly bare?: 'b' | 'kb' | 'mb' | 'gb' }>(
  options: O = {} as O,
): Setting<Unset<number, O>> {
  const { bare = 'b' } = options;
  return setting(
    { ...options, ...(typeof options.default === 'number' ? { default: `${options.default}b` } : {}) } as O,
    (name, value) => bytes(FACTORY, name, /^\d+$/.test(value) ? `${value}${bare}` : value),
    (value) => `${value} bytes`,
  );
}

/** An absolute URL with one of these protocols (http and https unless set otherwise), and without credentials. */
export function url<const O extends Fallback<string> & { readonly protocols?: readonly string[] }>(
  options: O = {} as O,
): Setting<Unset<string, O>> {
  const { protocols = ['http', 'https'] } = options;
  return setting(options, (name, value) => {
    const parsed = URL.canParse(value) ? new URL(value) : undefined;
    // Not shown: a password may stand in it.
    if (parsed === undefined || !protocols.includes(parsed.protocol.slice(0, -1))) {
      throw badSecret(FACTORY, name, `must be a URL that begins with ${protocols.map((p) => `${p}://`).join(' or ')}`);
    }
    if (parsed.username !== '' || parsed.password !== '') throw badSecret(FACTORY, name, 'must hold no credentials');
    return value;
  });
}

/** Several values, parted by commas; blank ones are none. */
export function list<const O extends Fallback<readonly string[]>>(
  options: O = {} as O,
): Setting<Unset<readonly string[], O>> {
  return setting(
    options,
    (_name, value): readonly string[] =>
      value
        .split(',')
        .map((item) => item.trim())
        .filter((item) => item !== ''),
    (value) => (value.length === 0 ? 'none' : value.join(', ')),
  );
}

/** What nobody may see: neither a message nor `describe()` shows it. At least `minLength` characters (1 unless set otherwise). */
export function secret<const O extends { readonly optional?: boolean; readonly minLength?: number }>(
  options: O = {} as O,
): Setting<Unset<string, O>> {
  const { minLength = 1 } = options;
  return setting(
    options,
    (name, value) => {
      if (value.length < minLength) throw badSecret(FACTORY, name, `must be at least ${minLength} characters`);
      return value;
    },
    () => 'set',
    true,
  );
}

/**
 * A setting that a guard's own factory judges as well: what it throws is told under the variable's name.
 *
 * ```ts
 * checked(list(), (trust) => clientIp({ trust }))
 * ```
 */
export function checked<T>(of: Setting<T>, check: (value: T) => unknown): Setting<T> {
  function accepted(name: string, value: T): T {
    try {
      check(value);
    } catch (error) {
      if (!(error instanceof OptionError)) throw error;
      const rule = error.message.replace(/^gatewarden: /, '');
      throw badSecret(FACTORY, name, of.isSecret ? 'is not accepted' : `is not accepted: ${rule}`);
    }
    return value;
  }

  // An empty list is for services that do without, whatever a guard would say of it.
  const { value } = of.fallback ?? {};
  if (value !== undefined && !(Array.isArray(value) && value.length === 0)) accepted('default', value as T);
  return { ...of, read: (name, text) => accepted(name, of.read(name, text)) };
}
