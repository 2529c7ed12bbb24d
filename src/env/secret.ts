import { badSecret, type OptionNames, positiveInteger } from '../core/option.js';
import { createSetting, type FallbackOptions, type Setting, type Unset } from './setting.js';

/** The options of `secret`. */
export interface SecretOptions<Optional extends boolean = boolean>
  extends Pick<FallbackOptions<string, Optional>, 'optional'> {
  /** The least number of characters. 1 by default. */
  readonly minLength?: number | undefined;
}

const OPTIONS: OptionNames<SecretOptions> = { optional: true, minLength: true };

/**
 * Reads a secret. No message and no `describe()` shows it. A secret has no default: it does not belong in code.
 *
 * ```ts
 * secret({ minLength: 32 })
 * ```
 * @throws OptionError for an unknown or bad option
 */
export function secret<Optional extends boolean = false>(
  options: SecretOptions<Optional> = {},
): Setting<Unset<string, Optional>> {
  const minLength = positiveInteger('secret', 'minLength', options.minLength ?? 1);
  return createSetting(options, {
    factory: 'secret',
    optionNames: OPTIONS,
    isSecret: true,
    read(factory, option, text) {
      if (text.length < minLength) throw badSecret(factory, option, `must be at least ${minLength} characters`);
      return text;
    },
  });
}
