import type { Exchange } from '../core/exchange.js';
import type { QuotaState } from '../core/quota-state.js';
import type { Reply } from '../core/reply.js';
import { isThenable } from '../core/thenable.js';
import type { Violation } from './store.js';

/** What a `limit` decided about one exchange, for `onDecision`. */
export type LimitDecision =
  | {
      readonly kind: 'admitted';
      /** When the store decided, by its own clock, in epoch milliseconds. */
      readonly at: number;
      /** The state of each policy after the charge. Empty if the store admitted without knowing it. */
      readonly quotas: readonly QuotaState[];
      readonly enforced: boolean;
    }
  | {
      readonly kind: 'refused';
      /** When the store decided, by its own clock, in epoch milliseconds. */
      readonly at: number;
      /** The state of each policy, which the refusal did not change. */
      readonly quotas: readonly QuotaState[];
      /** The policies that had no room, and when they would. */
      readonly violations: readonly Violation[];
      /** The reply of a limit that is enforced. */
      readonly reply: Reply;
      /** False if the request passed nevertheless. */
      readonly enforced: boolean;
    }
  | {
      /** The queue of a limit that has one refused the request, or it waited too long. Nothing was charged. */
      readonly kind: 'queue-full' | 'queue-timeout';
      /** How long a request that comes now would wait, in milliseconds. */
      readonly expectedWait: number;
      readonly reply: Reply;
      readonly enforced: true;
    }
  | {
      readonly kind: 'failed';
      /** Why there is no decision: what the store threw, or a fault of a function among the options. */
      readonly error: unknown;
      /** False if the request passed nevertheless. */
      readonly enforced: boolean;
    };

/** Calls `onDecision`. What goes wrong in it is a fault, and changes no decision. */
export function report(
  onDecision: (decision: LimitDecision, exchange: Exchange) => void,
  decision: LimitDecision,
  exchange: Exchange,
): void {
  try {
    const returned: unknown = onDecision(decision, exchange);
    if (isThenable(returned)) Promise.resolve(returned).catch((error: unknown) => exchange.fault(error));
  } catch (error) {
    exchange.fault(error);
  }
}
