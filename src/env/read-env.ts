import { OptionError } from '../core/option.js';
import { ENVIRONMENT, type Setting } from './setting.js';

/** The settings of a service, by the names of their environment variables. */
export type Settings = Readonly<Record<string, Setting<unknown>>>;

/** The values of settings, by the same names. */
export type Values<S extends Settings> = { readonly [N in keyof S]: S[N] extends Setting<infer T> ? T : never };

/** One variable as a start-up message may show it. */
export interface DescribedSetting {
  readonly name: string;
  /** The value as it was set, or the default as the code writes it. A secret is only `set` or `not set`. */
  readonly value: string;
  readonly source: 'environment' | 'default';
}

/** Returned by `readEnv`. */
export interface Environment<S extends Settings> {
  /** The value of every variable. Frozen. */
  readonly values: Values<S>;
  /** Every variable in the order of the settings, without secrets. */
  describe(): readonly DescribedSetting[];
}

/**
 * Reads a service's settings from environment variables, typed. An empty variable counts as not set, and white space
 * around a value is ignored.
 *
 * ```ts
 * const { values, describe } = readEnv({
 *   API_KEY: secret({ minLength: 16 }),
 *   CORS_ORIGINS: list({ default: [] }),
 *   RATE_LIMIT_PERIOD_SECONDS: duration({ default: '60s', bare: 's' }),
 *   PORT: port({ default: 8000 }),
 * })
 * ```
 * @param env the variables, `process.env` by default
 * @throws OptionError that lists every mistake by the variable's name, and shows no secret
 */
export function readEnv<S extends Settings>(
  settings: S,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Environment<S> {
  const values: Record<string, unknown> = {};
  const described: DescribedSetting[] = [];
  const mistakes: string[] = [];
  for (const [name, setting] of Object.entries(settings)) {
    if (typeof setting?.read !== 'function') {
      throw new OptionError(
        `gatewarden: readEnv "${name}" must be a setting, such as text() or port({ default: 8000 })`,
      );
    }
    const text = env[name]?.trim() ?? '';
    const isSet = text !== '';
    try {
      const value = isSet ? setting.read(name, text) : fallbackOf(name, setting).value;
      values[name] = value;
      const shown = setting.isSecret && value !== undefined ? 'set' : isSet ? text : fallbackOf(name, setting).text;
      described.push({ name, value: shown, source: isSet ? 'environment' : 'default' });
    } catch (error) {
      if (!(error instanceof OptionError)) throw error;
      mistakes.push(error.message.replace(`gatewarden: ${ENVIRONMENT} `, ''));
    }
  }
  if (mistakes.length > 0) throw badSettings(mistakes);
  return { values: Object.freeze(values) as Values<S>, describe: () => described };
}

function fallbackOf(name: string, { fallback }: Setting<unknown>): { readonly value: unknown; readonly text: string } {
  if (fallback === undefined) throw new OptionError(`gatewarden: ${ENVIRONMENT} "${name}" must be set`);
  return fallback;
}

/** One mistake follows on the same line. Several have a line each. */
function badSettings(mistakes: readonly string[]): OptionError {
  const separator = mistakes.length === 1 ? ' ' : '\n  ';
  return new OptionError(`gatewarden: bad settings:${separator}${mistakes.join('\n  ')}`);
}
