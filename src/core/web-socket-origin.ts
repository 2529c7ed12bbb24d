import { checkExchange } from './check-exchange.js';
import type { Exchange } from './exchange.js';
import type { Guard } from './guard.js';
import { inOrder } from './guard-order.js';
import { checkOptionNames, type OptionNames } from './option.js';
import { originMatcher } from './origin.js';
import { problem } from './problem.js';
import { refuse } from './reply.js';

/** The options of `webSocketOrigin`. */
export interface WebSocketOriginOptions {
  /**
   * The origins whose pages may connect, as `origin` of `cors`: a text, a list, or a function that returns whether an origin
   * is allowed. `'https://*.example.com'` allows every subdomain. `'*'` allows every page of the web: only for a service whose
   * clients send their credentials themselves, never for one that reads cookies. Default: only pages that come from the
   * host of the request itself.
   */
  readonly origin?:
    | string
    | readonly string[]
    | ((origin: string, exchange: Exchange) => boolean | Promise<boolean>)
    | undefined;
}

const OPTIONS: OptionNames<WebSocketOriginOptions> = { origin: true };
const REFUSED = refuse(problem('origin-untrusted'));
const DEFAULT_PORTS: readonly (readonly [scheme: string, port: string])[] = [
  ['http://', ':80'],
  ['https://', ':443'],
];

/**
 * Refuses WebSocket handshakes that a page of another site has started, with 403 `origin-untrusted`. Browsers do not apply
 * CORS to WebSockets, and send the cookies of the service with the handshake. So any page could connect in the name of its
 * visitor. Other requests pass, and so do clients that are not browsers, which send no `Origin`. `guardUpgrade` does this
 * by itself. Use the guard where the framework passes handshakes to its routes. Put it before `limit`, so that a page of
 * another site spends nothing.
 *
 * Without `origin`, a page must come from the host in `Host`. A proxy that changes `Host` makes that fail: list the origins
 * then. Put `trustedHosts` before it, since the name of a foreign site may resolve to this machine.
 *
 * ```ts
 * guard(webSocketOrigin({ origin: 'https://app.example.com' }))
 * ```
 * @throws OptionError for an origin that no browser sends
 */
export function webSocketOrigin(options: WebSocketOriginOptions = {}): Guard {
  checkOptionNames('webSocketOrigin', options, OPTIONS);
  return inOrder(originGuard('webSocketOrigin', options.origin), {
    name: 'webSocketOrigin',
    before: { limit: 'a page of another site would spend the quota of its visitor' },
  });
}

/** For adapters: `webSocketOrigin` as an option of another factory. */
export function originGuard(factory: string, origin: WebSocketOriginOptions['origin']): Guard {
  const isAllowed = origin === undefined ? isSameOrigin : origin === '*' ? isAny : originMatcher(factory, origin);
  return function webSocketOrigin(exchange: Exchange): ReturnType<Guard> {
    checkExchange('webSocketOrigin', exchange);
    const { request } = exchange;
    // A page cannot set `Upgrade` itself.
    if (request.fieldLines('upgrade').length === 0) return undefined;
    const [line, ...more] = request.fieldLines('origin');
    if (line === undefined) return undefined;
    if (more.length > 0) return REFUSED;
    const allowed = isAllowed(line, exchange);
    if (typeof allowed === 'boolean') return allowed ? undefined : REFUSED;
    return allowed.then((late) => (late ? undefined : REFUSED));
  };
}

function isAny(): boolean {
  return true;
}

/** Browsers write the host in `Origin` as in `Host`. The scheme of the request is not known behind a proxy. */
function isSameOrigin(origin: string, { request }: Exchange): boolean {
  const lines = request.fieldLines('host');
  // A web request may have the host in its URL only.
  const [host, ...more] = lines.length === 0 ? request.fieldLines(':authority') : lines;
  if (host === undefined || host === '' || more.length > 0) return false;
  const lowerCase = host.toLowerCase();
  return DEFAULT_PORTS.some(([scheme, port]) => origin === scheme + withoutPort(lowerCase, port));
}

function withoutPort(host: string, port: string): string {
  return host.endsWith(port) ? host.slice(0, -port.length) : host;
}
