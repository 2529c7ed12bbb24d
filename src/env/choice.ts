import { badOption } from '../core/option.js';
import { createSetting, FALLBACK_OPTIONS, type FallbackOptions, type Setting, type Unset } from './setting.js';

/** The options of `choice`. */
export type ChoiceOptions<Word extends string, Optional extends boolean = boolean> = FallbackOptions<Word, Optional>;

/**
 * Reads one of these words, in any case, and returns it as it is written here.
 *
 * ```ts
 * choice(['debug', 'info', 'error'], { default: 'info' })
 * ```
 * @throws OptionError for words that are not non-empty strings, or an unknown or bad option
 */
export function choice<const Words extends readonly string[], Optional extends boolean = false>(
  words: Words,
  options: ChoiceOptions<NoInfer<Words[number]>, Optional> = {},
): Setting<Unset<Words[number], Optional>> {
  if (!Array.isArray(words) || words.length === 0 || words.some((word) => typeof word !== 'string' || word === '')) {
    throw badOption('choice', 'words', 'must be a list of one or more non-empty strings', words);
  }
  return createSetting(options, {
    factory: 'choice',
    optionNames: FALLBACK_OPTIONS,
    read(factory, option, text): Words[number] {
      const word = words.find((candidate) => candidate.toLowerCase() === text.toLowerCase());
      if (word === undefined) throw badOption(factory, option, `must be one of ${words.join(', ')}`, text);
      return word;
    },
  });
}
