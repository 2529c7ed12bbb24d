import { badOption, text as nonEmptyText, type OptionNames } from '../core/option.js';
import { createSetting, FALLBACK_OPTIONS, type FallbackOptions, type Setting, type Unset } from './setting.js';

/** The options of `text`. */
export interface TextOptions<Optional extends boolean = boolean> extends FallbackOptions<string, Optional> {
  /** What the text must match. Any text by default. */
  readonly pattern?: RegExp | undefined;
  /** How an error words the pattern, such as `must be lower-case letters`. By default it shows the pattern. */
  readonly rule?: string | undefined;
}

const OPTIONS: OptionNames<TextOptions> = { ...FALLBACK_OPTIONS, pattern: true, rule: true };

/**
 * Reads text that is not secret.
 *
 * ```ts
 * text({ default: '127.0.0.1' })
 * ```
 * @throws OptionError for an unknown or bad option
 */
export function text<Optional extends boolean = false>(
  options: TextOptions<Optional> = {},
): Setting<Unset<string, Optional>> {
  const { pattern, rule = `must match ${pattern}` } = options;
  if (pattern !== undefined && !(pattern instanceof RegExp)) {
    throw badOption('text', 'pattern', 'must be a regular expression', pattern);
  }
  nonEmptyText('text', 'rule', rule);
  return createSetting(options, {
    factory: 'text',
    optionNames: OPTIONS,
    read(factory, option, value) {
      // `search` ignores `lastIndex`: a pattern with the flag g reads the same text alike each time.
      if (pattern !== undefined && value.search(pattern) === -1) throw badOption(factory, option, rule, value);
      return value;
    },
  });
}
