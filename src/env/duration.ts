import { type Duration, milliseconds } from '../core/duration.js';
import { type OptionNames, oneOf } from '../core/option.js';
import { createSetting, FALLBACK_OPTIONS, type FallbackOptions, type Setting, type Unset } from './setting.js';

/** The options of `duration`. */
export interface DurationOptions<Optional extends boolean = boolean> extends FallbackOptions<Duration, Optional> {
  /**
   * The unit of a bare number in the environment, for a service whose settings are documented as such. By default a bare
   * number is refused. A default always carries its own unit.
   */
  readonly bare?: 'ms' | 's' | 'm' | 'h' | 'd' | undefined;
}

const OPTIONS: OptionNames<DurationOptions> = { ...FALLBACK_OPTIONS, bare: true };

/**
 * Reads a length of time with its unit, such as `500ms`, `30s` or `24h`. The value is a `Duration` string, as guards accept
 * it; `toMilliseconds` converts it to a number.
 *
 * ```ts
 * duration({ default: '60s', bare: 's' }) // `90` and `90s` both yield '90s'
 * ```
 * @throws OptionError for an unknown or bad option
 */
export function duration<Optional extends boolean = false>(
  options: DurationOptions<Optional> = {},
): Setting<Unset<Duration, Optional>> {
  const { bare } = options;
  if (bare !== undefined) oneOf('duration', 'bare', bare, ['ms', 's', 'm', 'h', 'd']);
  return createSetting(options, {
    factory: 'duration',
    optionNames: OPTIONS,
    read: (factory, option, text) => checkDuration(factory, option, /^\d+$/.test(text) ? text + (bare ?? '') : text),
    readDefault: (value) => checkDuration('duration', 'default', value),
  });
}

function checkDuration(factory: string, option: string, value: string): Duration {
  milliseconds(factory, option, value);
  return value as Duration;
}
