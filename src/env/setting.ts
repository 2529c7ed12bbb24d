import { boolean, checkOptionNames, type OptionNames } from '../core/option.js';

/** How `readEnv` reads one environment variable. `text`, `integer`, `secret` and the like return one. */
export interface Setting<T> {
  /**
   * Reads the text of a variable that is set. The text has no surrounding white space.
   * @throws OptionError that names the variable
   */
  read(name: string, text: string): T;
  /** What a variable that is not set yields, and how `describe()` shows it. Undefined if the variable must be set. */
  readonly fallback: { readonly value: T; readonly text: string } | undefined;
  /** Whether messages and `describe()` must not show the value. */
  readonly isSecret: boolean;
}

/** The type of a setting's value: it includes `undefined` if the setting is optional. */
export type Unset<T, Optional extends boolean> = true extends Optional ? T | undefined : T;

/** What a variable that is not set yields. With neither option, the variable must be set. */
export interface FallbackOptions<T, Optional extends boolean = boolean> {
  /** The value of a variable that is not set. It is checked like a value from the environment. */
  readonly default?: T | undefined;
  /** With true, a variable that is not set and has no default yields undefined. False by default. */
  readonly optional?: Optional | undefined;
}

export const FALLBACK_OPTIONS: OptionNames<FallbackOptions<unknown>> = { default: true, optional: true };

/** How messages name the source of a value. `readEnv` removes it, because the name of the variable is enough there. */
export const ENVIRONMENT = 'the environment';

/** How one kind of setting is read. */
interface Kind<T, Default> {
  readonly factory: string;
  readonly optionNames: Readonly<Record<string, true>>;
  /** Reads a text. Errors name `factory` and `option`. */
  read(factory: string, option: string, text: string): T;
  /** Checks a default. Without it, the default is read as text. */
  readDefault?(value: Default): T;
  /** Shows a default as the environment would write it. */
  showDefault?(value: Default): string;
  readonly isSecret?: boolean;
}

/** The setting of one kind with these options. @throws OptionError for an unknown option or a bad default */
export function createSetting<T, Default, Optional extends boolean>(
  options: FallbackOptions<Default, Optional>,
  { factory, optionNames, read, readDefault, showDefault = String, isSecret = false }: Kind<T, Default>,
): Setting<Unset<T, Optional>> {
  checkOptionNames(factory, options, optionNames);
  const optional = boolean(factory, 'optional', options.optional ?? false);
  const { default: defaultValue } = options;
  let fallback: { value: T | undefined; text: string } | undefined;
  if (defaultValue !== undefined) {
    const value = readDefault?.(defaultValue) ?? read(factory, 'default', String(defaultValue));
    fallback = { value, text: showDefault(defaultValue) };
  } else if (optional) {
    fallback = { value: undefined, text: 'not set' };
  }
  return {
    read: (name, text) => read(ENVIRONMENT, name, text),
    fallback,
    isSecret,
  } as Setting<Unset<T, Optional>>;
}
