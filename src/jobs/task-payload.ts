import type { Exchange } from '../core/exchange.js';
import type { Principal } from '../core/principal.js';
import type { RequestView } from '../core/request-view.js';
import { JobExchange, UnsentHeaders } from './detached-exchange.js';

/** What a task is stored with: its input, and what the guards found out about who submitted it. */
interface Payload {
  readonly input: unknown;
  readonly method: string;
  readonly url: string;
  readonly routePattern: string | undefined;
  readonly requestId: string | undefined;
  readonly clientIp: Exchange['clientIp'];
  readonly principal: Principal | undefined;
}

const MAX_BYTES = 65_536;

/** @throws TypeError if the input is not JSON, or too large */
export function payloadOf(exchange: Exchange, input: unknown): string {
  const { request, requestId, clientIp, principal } = exchange;
  const payload: Payload = {
    input: input ?? null,
    method: request.method,
    // A query may hold a secret.
    url: request.url.replace(/[?#].*$/s, ''),
    routePattern: request.routePattern,
    requestId,
    clientIp,
    principal,
  };
  const text = JSON.stringify(payload);
  if (Buffer.byteLength(text) <= MAX_BYTES) return text;
  throw new TypeError(
    `gatewarden: the "input" of a task, with its principal, must be at most ${MAX_BYTES} bytes of JSON`,
  );
}

/** The exchange of a task that another process has submitted. It has no header lines. */
export function adoptedExchange(payload: string): { readonly exchange: JobExchange; readonly input: unknown } {
  const { input, method, url, routePattern, requestId, clientIp, principal }: Payload = JSON.parse(payload);
  const request: RequestView = {
    method,
    url,
    routePattern,
    remoteAddress: clientIp?.ip,
    encrypted: false,
    bodyWasRead: false,
    fieldLines: () => [],
  };
  const exchange = new JobExchange(request, new UnsentHeaders());
  exchange.requestId = requestId;
  exchange.clientIp = clientIp;
  exchange.principal = principal;
  return { exchange, input };
}
