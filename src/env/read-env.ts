import { OptionError } from '../core/option.js';
import type { Setting } from './setting.js';

/** The variables of a service, by name. */
export type Settings = Readonly<Record<string, Setting<unknown>>>;

/** What the variables say. */
export type Values<S extends Settings> = { readonly [N in keyof S]: S[N] extends Setting<infer T> ? T : never };

/** One variable as a start-up message may show it. */
export interface DescribedSetting {
  readonly name: string;
  /** Of a secret only `set` or `not set`. */
  readonly value: string;
  readonly source: 'environment' | 'default';
}

/** Made by `readEnv`. */
export interface Environment<S extends Settings> {
  readonly values: Values<S>;
  /** Every variable, without secrets. */
  describe(): readonly DescribedSetting[];
}

/**
 * Reads a service's settings from environment variables, typed. An empty variable counts as not set, and white space
 * around a value as nothing.
 *
 * ```ts
 * const { values, describe } = readEnv({
 *   API_KEY: secret({ minLength: 16 }),
 *   CORS_ORIGINS: list({ default: [] }),
 *   RATE_LIMIT_PERIOD_SECONDS: duration({ default: '60s' }),
 *   PORT: port({ default: 8000 }),
 * })
 * ```
 * @throws OptionError that tells of all mistakes together, a line each, by the variable's name; never a secret's value
 */
export function readEnv<S extends Settings>(
  settings: S,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Environment<S> {
  const values: Record<string, unknown> = {};
  const described: DescribedSetting[] = [];
  const mistakes: string[] = [];
  for (const [name, setting] of Object.entries(settings)) {
    const text = env[name]?.trim() ?? '';
    const source = text === '' ? 'default' : 'environment';
    try {
      values[name] = text === '' ? fallbackOf(name, setting) : setting.read(name, text);
      described.push({ name, value: shown(setting, values[name], text), source });
    } catch (error) {
      if (!(error instanceof OptionError)) throw error;
      mistakes.push(error.message.replace(/^gatewarden: the environment /, ''));
    }
  }
  if (mistakes.length > 0) throw new OptionError(`gatewarden: bad settings:\n  ${mistakes.join('\n  ')}`);
  return { values: Object.freeze(values) as Values<S>, describe: () => described };
}

function fallbackOf(name: string, { fallback }: Setting<unknown>): unknown {
  if (fallback === undefined) throw new OptionError(`gatewarden: the environment "${name}" must be set`);
  return fallback.value;
}

/** A value as it was set, so that it can be compared with the file that sets it; a default as the service means it. */
function shown(setting: Setting<unknown>, value: unknown, text: string): string {
  if (value === undefined) return 'not set';
  if (setting.isSecret) return 'set';
  return text === '' ? setting.show(value) : text;
}
