import type { Exchange } from '../core/exchange.js';
import { badOption } from '../core/option.js';
import type { Outcome } from '../core/outcome.js';

/** Ends of an exchange after which the charge can be refunded. */
export type RefundCause = 'refused' | 'refused-after-body' | 'server-error' | 'aborted';

const CAUSES: readonly RefundCause[] = ['refused', 'refused-after-body', 'server-error', 'aborted'];

/** Checks the option `refundOn`. @throws OptionError */
export function refundCauses(causes: readonly RefundCause[] = ['refused', 'server-error']): readonly RefundCause[] {
  if (!Array.isArray(causes) || causes.some((cause) => !CAUSES.includes(cause))) {
    throw badOption('limit', 'refundOn', `must be a list of ${CAUSES.join(', ')}`, causes);
  }
  return [...causes];
}

/** To be called at the end of the exchange: afterwards, the server may discard the rest of a body. */
export function refundCause(outcome: Outcome, { request }: Exchange): RefundCause | undefined {
  switch (outcome.kind) {
    case 'aborted':
      return 'aborted';
    case 'refused':
      if (request.bodyWasRead !== true) return 'refused';
      // A guard that failed is the server's fault, as a handler that failed is.
      return outcome.status >= 500 ? 'server-error' : 'refused-after-body';
    default:
      return outcome.status >= 500 ? 'server-error' : undefined;
  }
}
