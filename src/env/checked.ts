import { badSecret, callback, hidesValue, OptionError } from '../core/option.js';
import { ENVIRONMENT, type Setting } from './setting.js';

/**
 * A setting whose value is also checked by the guard that will use it. An `OptionError` of `check` becomes an error of the
 * variable. For a secret, the error gives the reason only if gatewarden's own factories wrote it, since they never show a
 * secret. An empty list as the default is not checked: a service uses it to leave the guard out.
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
      const canShow = !setting.isSecret || hidesValue(error);
      const reason = canShow ? `: ${error.message.replace(/^gatewarden: /, '')}` : '';
      throw badSecret(factory, option, `is not accepted${reason}`);
    }
    return value;
  }

  const { fallback } = setting;
  const isEmptyList = Array.isArray(fallback?.value) && fallback.value.length === 0;
  if (fallback?.value !== undefined && !isEmptyList) accept('checked', 'default', fallback.value);
  return { ...setting, read: (name, text) => accept(ENVIRONMENT, name, setting.read(name, text)) };
}
