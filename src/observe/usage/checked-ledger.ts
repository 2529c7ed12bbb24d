import type { Ledger } from '../../core/ledger.js';
import { badOption } from '../../core/option.js';

/** Checks the option `ledger`. @throws OptionError */
export function checkLedger(factory: string, ledger: Ledger): Ledger {
  const methods: readonly (keyof Ledger)[] = ['add', 'book', 'read', 'today', 'close'];
  if (!methods.every((method) => typeof ledger?.[method] === 'function')) {
    throw badOption(factory, 'ledger', 'must be a ledger', ledger, 'pass memoryLedger() or redisLedger({ client })');
  }
  return ledger;
}
