import { badSecret } from '../core/option.js';

/** How to make a secret that is long enough for every option. */
export const SECRET_RECIPE = 'such as the output of `openssl rand -hex 32`';

/**
 * Checks a secret's presence and length. `undefined` is reported as not set, because it usually comes from an
 * environment variable. The message shows nothing of the secret.
 * @throws OptionError
 */
export function checkSecret(factory: string, option: string, value: unknown, minLength: number): string {
  if (typeof value === 'string' && value.length >= minLength) return value;
  const rule = `must be a string of at least ${minLength} characters, ${SECRET_RECIPE}`;
  if (value === undefined) throw badSecret(factory, option, `is not set; it ${rule}`);
  if (value === '') throw badSecret(factory, option, `is empty; it ${rule}`);
  throw badSecret(factory, option, rule);
}
