import { Exchange } from '../core/exchange.js';
import { warn } from '../core/warning.js';
import type { WebMessage } from './web.js';
import { endWithBody } from './web-body.js';
import { withHeaders } from './web-headers.js';

const exchanges = new WeakMap<Request, Exchange>();

/** The exchange of a web request: undefined before its first guards. */
export function knownExchange(request: Request): Exchange | undefined {
  return exchanges.get(request);
}

/** Begins the exchange of a web request. It is aborted when the runtime reports that the client has left. */
export function beginExchange(request: Request, message: WebMessage): Exchange {
  const exchange = new Exchange(message, message);
  exchanges.set(request, exchange);
  // Not every runtime has one.
  const signal: AbortSignal | undefined = request.signal;
  if (signal?.aborted) exchange.abort();
  else signal?.addEventListener('abort', () => exchange.abort(), { once: true });
  return exchange;
}

/** The response to send instead of that of the guards or the handler. The exchange ends with it. */
export async function finish(message: WebMessage, exchange: Exchange, response: Response): Promise<Response> {
  const captured = message.captured(response);
  const whole = captured instanceof Promise ? await captured : captured;
  // Before the end: what is told about the exchange then may name a header.
  const headers = [...message.headers()];
  return withHeaders(await endWithBody(whole, exchange, message.method === 'HEAD'), headers);
}

let hasWarned = false;

/** Warns once that limits cannot tell clients apart. */
export function warnOfMissingAddress(guard: string, remedy: string): void {
  if (hasWarned) return;
  hasWarned = true;
  warn(`${guard} finds no client addresses on this runtime and treats all clients as one; use ${remedy}`, {
    code: 'GATEWARDEN_NO_ADDRESS',
  });
}
