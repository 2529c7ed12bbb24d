import { badOption } from '../core/option.js';
import { createSetting, FALLBACK_OPTIONS, type FallbackOptions, type Setting, type Unset } from './setting.js';

/** The options of `boolean`. */
export type BooleanOptions<Optional extends boolean = boolean> = FallbackOptions<boolean, Optional>;

const TRUE = ['true', '1', 'yes', 'on'];
const FALSE = ['false', '0', 'no', 'off'];

/**
 * Reads `true`, `1`, `yes` or `on` as true, and `false`, `0`, `no` or `off` as false, in any case.
 *
 * ```ts
 * boolean({ default: false })
 * ```
 * @throws OptionError for an unknown or bad option
 */
export function boolean<Optional extends boolean = false>(
  options: BooleanOptions<Optional> = {},
): Setting<Unset<boolean, Optional>> {
  return createSetting(options, {
    factory: 'boolean',
    optionNames: FALLBACK_OPTIONS,
    read(factory, option, text) {
      const word = text.toLowerCase();
      if (TRUE.includes(word)) return true;
      if (FALSE.includes(word)) return false;
      throw badOption(factory, option, 'must be true or false', text);
    },
  });
}
