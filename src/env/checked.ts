import { badSecret, callback, OptionError } from '../core/option.js';
import { ENVIRONMENT, type Setting } from './setting.js';

/**
 * A setting whose value is also checked by the guard that will use it. An `OptionError` of `check` becomes an error of the
 * variable. An empty list as the default is not checked: a service uses it to leave the guard out.
 *
 * ```ts
 * checked(list(), (trust) => clientIp({ trust }))
 * ```
 * @throws OptionError if `check` refuses the default
 */
export function checked<T>(setting: Setting<T>, check: (value: T) => unknown): Setting<T> {
  callback('checked', 'check', check);

  function accept(factory: string, option: string, value: T): T {
    try {
      check(value);
    } catch (error) {
      if (!(error instanceof OptionError)) throw error;
      const reason = setting.isSecret ? '' : `: ${error.message.replace(/^gatewarden: /, '')}`;
      throw badSecret(factory, option, `is not accepted${reason}`);
    }
    return value;
  }

  const { fallback } = setting;
  const isEmptyList = Array.isArray(fallback?.value) && fallback.value.length === 0;
  if (fallback?.value !== undefined && !isEmptyList) accept('checked', 'default', fallback.value);
  return { ...setting, read: (name, text) => accept(ENVIRONMENT, name, setting.read(name, text)) };
}
