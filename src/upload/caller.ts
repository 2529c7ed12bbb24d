import { addressKey } from '../core/address.js';
import type { Exchange } from '../core/exchange.js';

/** Who waits for an image to be decoded. */
export interface Caller {
  /** Ends the wait in the queue, and the decoder if it has a process of its own. */
  readonly signal: AbortSignal | undefined;
  /** Clients take turns. Callers without a client count as one. */
  readonly client: string | undefined;
}

export const NO_CALLER: Caller = { signal: undefined, client: undefined };

/** What `callerOf` reads of an exchange. */
export type CallingExchange = Pick<Exchange, 'signal' | 'principal' | 'clientIp' | 'request'>;

/** The caller of an exchange: its principal, or else its address. */
export function callerOf({ signal, principal, clientIp, request }: CallingExchange): Caller {
  if (principal !== undefined) return { signal, client: `principal ${principal.id}` };
  const { remoteAddress } = request;
  return { signal, client: clientIp?.key ?? (remoteAddress === undefined ? undefined : addressKey(remoteAddress)) };
}
