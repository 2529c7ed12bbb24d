import { unavailable } from '../store.js';
import type { Answer } from './operation-answer.js';

/** A call on its way. */
export interface Delivery {
  /** Rejects with a `StoreError` if no answer comes within the timeout. */
  readonly inTime: Promise<readonly Answer[]>;
  /** Settles when the client is done with the call, however late. While it does not, the client may still send the call. */
  readonly eventually: Promise<readonly Answer[]>;
  /** Its place among all deliveries. */
  readonly order: number;
}

/** A call that the client was not given. */
export function undelivered(order: number): Delivery {
  const rejected = Promise.reject<readonly Answer[]>(unavailable('the server of these keys does not answer'));
  rejected.catch(() => undefined);
  return { inTime: rejected, eventually: rejected, order };
}
