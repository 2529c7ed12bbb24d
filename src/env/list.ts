import { badOption } from '../core/option.js';
import { createSetting, FALLBACK_OPTIONS, type FallbackOptions, type Setting, type Unset } from './setting.js';

/** The options of `list`. */
export type ListOptions<Optional extends boolean = boolean> = FallbackOptions<readonly string[], Optional>;

/**
 * Reads values separated by commas. White space around a value and blank values are ignored.
 *
 * ```ts
 * list({ default: ['http://localhost:3000'] })
 * ```
 * @throws OptionError for an unknown or bad option
 */
export function list<Optional extends boolean = false>(
  options: ListOptions<Optional> = {},
): Setting<Unset<readonly string[], Optional>> {
  return createSetting(options, {
    factory: 'list',
    optionNames: FALLBACK_OPTIONS,
    read: (_factory, _option, text): readonly string[] => split(text),
    readDefault(values) {
      if (!Array.isArray(values) || values.some((value) => typeof value !== 'string')) {
        throw badOption('list', 'default', 'must be a list of strings', values);
      }
      return split(values.join(','));
    },
    showDefault: (values) => (values.length === 0 ? 'none' : values.join(', ')),
  });
}

function split(text: string): readonly string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}
