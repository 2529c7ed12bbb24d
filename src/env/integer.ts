import { badOption, type OptionNames } from '../core/option.js';
import { createSetting, FALLBACK_OPTIONS, type FallbackOptions, type Setting, type Unset } from './setting.js';

/** The options of `integer`. */
export interface IntegerOptions<Optional extends boolean = boolean> extends FallbackOptions<number, Optional> {
  /** The least value. 0 by default. */
  readonly min?: number | undefined;
  /** The greatest value. `Number.MAX_SAFE_INTEGER` by default. */
  readonly max?: number | undefined;
}

/** The options of `port`. */
export type PortOptions<Optional extends boolean = boolean> = FallbackOptions<number, Optional>;

const OPTIONS: OptionNames<IntegerOptions> = { ...FALLBACK_OPTIONS, min: true, max: true };

/**
 * Reads a whole number in decimal digits, from `min` to `max`.
 *
 * ```ts
 * integer({ min: 1, default: 60 })
 * ```
 * @throws OptionError for an unknown or bad option
 */
export function integer<Optional extends boolean = false>(
  options: IntegerOptions<Optional> = {},
): Setting<Unset<number, Optional>> {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = options;
  for (const [name, bound] of Object.entries({ min, max })) {
    if (!Number.isSafeInteger(bound)) throw badOption('integer', name, 'must be a whole number', bound);
  }
  if (min > max) throw badOption('integer', 'min', `must be at most "max", ${max}`, min);
  return createSetting(options, { factory: 'integer', optionNames: OPTIONS, read: readWithin(min, max) });
}

/**
 * Reads a TCP port, from 0 to 65535. With 0 the system chooses a free port.
 *
 * ```ts
 * port({ default: 8000 })
 * ```
 * @throws OptionError for an unknown or bad option
 */
export function port<Optional extends boolean = false>(
  options: PortOptions<Optional> = {},
): Setting<Unset<number, Optional>> {
  return createSetting(options, { factory: 'port', optionNames: FALLBACK_OPTIONS, read: readWithin(0, 65_535) });
}

function readWithin(min: number, max: number) {
  return (factory: string, option: string, text: string): number => {
    const number = Number(text);
    if (!/^-?\d{1,16}$/.test(text) || number < min || number > max) {
      throw badOption(factory, option, `must be a whole number from ${min} to ${max}`, text);
    }
    return number;
  };
}
