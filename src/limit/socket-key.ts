import { keyOf, parseAddress, remembered } from '../core/address.js';
import type { Exchange } from '../core/exchange.js';
import type { RequestView } from '../core/request-view.js';
import { warn } from '../core/warning.js';

/** The prefix length that `clientIp` uses by default. */
const IPV6_PREFIX = 64;
/** The key that `clientIp` finds for callers on a Unix socket, which has no address. */
const UNIX_SOCKET = 'unix-socket';
/** Headers with which proxies name the client. */
const FORWARDING_HEADERS = ['x-forwarded-for', 'x-real-ip', 'forwarded', 'cf-connecting-ip'];

/** Where the `clientIp` guard is missing. */
export interface MissingClientIp {
  /** The factory that counts by address. */
  readonly factory: string;
  /** The guard that `clientIp` should precede. */
  readonly before: string;
}

/**
 * Counts by the socket's address for routes without a `clientIp` guard. Returns a function that finds the key which
 * `clientIp()` without options would have found. It warns once if a request carries a forwarding header: behind a proxy,
 * the socket's address is the proxy's.
 */
export function socketKeys({ factory, before }: MissingClientIp): (exchange: Exchange) => string {
  let warned = false;
  /** Made at the first use, since it allocates its whole cache. */
  let keyOfText: ((text: string) => { readonly key: string | undefined }) | undefined;

  function warnIfForwarded(request: RequestView): void {
    const header = FORWARDING_HEADERS.find((name) => request.fieldLines(name).length > 0);
    if (header === undefined) return;
    warned = true;
    warn(
      `${factory} counts by the socket's address, but a request came with ${header}: put clientIp({ trust: [...] }) ` +
        `before ${before}, or all clients behind your proxy share one limit`,
      { code: 'GATEWARDEN_NO_CLIENT_IP' },
    );
  }

  return (exchange) => {
    const { request } = exchange;
    if (!warned) warnIfForwarded(request);
    const { remoteAddress } = request;
    if (remoteAddress === undefined) {
      // A closed TCP socket has no address either.
      if (exchange.outcome?.kind === 'aborted') {
        throw new Error(`gatewarden: ${factory} cannot count by the socket's address: the connection is closed`);
      }
      return UNIX_SOCKET;
    }
    keyOfText ??= remembered((text) => {
      const address = parseAddress(text);
      return { key: address === undefined ? undefined : keyOf(address, IPV6_PREFIX) };
    });
    const { key } = keyOfText(remoteAddress);
    if (key === undefined) {
      throw new Error(
        `gatewarden: ${factory} cannot count by the socket's address: ${JSON.stringify(remoteAddress)} is not an IP address`,
      );
    }
    return key;
  };
}
