import { badSecret, type OptionNames } from '../core/option.js';

/**
 * Checks that an entry of an option's list is an object with known members only: a misspelt `expiresAt` would keep an
 * old secret valid forever. Unlike `checkOptionNames`, the message does not show the unknown name, which may be a
 * secret.
 * @throws OptionError
 */
export function checkEntryMembers<Entry>(
  factory: string,
  option: string,
  entry: unknown,
  members: OptionNames<Entry>,
): void {
  const names = Object.keys(members);
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
    throw badSecret(factory, option, `must be an object with ${names.join(', ')}`);
  }
  if (!Object.keys(entry).every((name) => names.includes(name))) {
    throw badSecret(factory, option, `has an unknown member; it accepts only ${names.join(', ')}`);
  }
}
