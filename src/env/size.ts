import { type OptionNames, oneOf } from '../core/option.js';
import { bytes, type Size } from '../core/size.js';
import { createSetting, FALLBACK_OPTIONS, type FallbackOptions, type Setting, type Unset } from './setting.js';

/** The options of `size`. */
export interface SizeOptions<Optional extends boolean = boolean> extends FallbackOptions<Size, Optional> {
  /** The unit of a bare number in the environment. Bytes (`b`) by default. A number as the default is always bytes. */
  readonly bare?: 'b' | 'kb' | 'mb' | 'gb' | undefined;
}

const OPTIONS: OptionNames<SizeOptions> = { ...FALLBACK_OPTIONS, bare: true };

/**
 * Reads a size such as `64kb` or `50mb`, in powers of 1024. The value is a number of bytes.
 *
 * ```ts
 * size({ default: '50mb', bare: 'mb' }) // `10` and `10mb` both yield 10,485,760
 * ```
 * @throws OptionError for an unknown or bad option
 */
export function size<Optional extends boolean = false>(
  options: SizeOptions<Optional> = {},
): Setting<Unset<number, Optional>> {
  const bare = oneOf('size', 'bare', options.bare ?? 'b', ['b', 'kb', 'mb', 'gb']);
  return createSetting(options, {
    factory: 'size',
    optionNames: OPTIONS,
    read: (factory, option, text) => bytes(factory, option, /^\d+$/.test(text) ? text + bare : text),
    readDefault: (value) => bytes('size', 'default', value),
    showDefault: (value) => (typeof value === 'number' ? `${value}b` : value),
  });
}
