import { badOption, OptionError } from '../core/option.js';
import { ignoreRejection, isThenable } from '../core/thenable.js';
import { AT_ONCE } from './cost.js';

/** Checks what the option `skip` returned. Anything but a boolean is a fault: a promise would count as true, and let every request pass. */
export function skips(skip: boolean | undefined): boolean {
  if (typeof skip === 'boolean' || skip === undefined) return skip === true;
  ignoreRejection(skip);
  if (isThenable(skip)) {
    throw new OptionError(`gatewarden: limit "skip" must return true or false, got a promise; ${AT_ONCE}`);
  }
  throw badOption('limit', 'skip', 'must return true or false', skip);
}
