import type { RequestView } from '../core/request-view.js';
import { warn } from '../core/warning.js';

/** Tells the operator of a proxy that is set up wrongly. */
export interface ForwardingWarnings {
  /** The peer is a proxy that is missing in `trust`, or a client that tries to choose its address. */
  ignoredHeader(request: RequestView, peer: string | undefined): void;
  /** A trusted proxy has not named the client. */
  missingHeader(proxy: string | undefined): void;
}

/** Each warning is emitted once, because clients could fill the log. A peer without an address is a Unix socket. */
export function forwardingWarnings(headers: readonly string[]): ForwardingWarnings {
  let ignored = false;
  let missing = false;
  return {
    ignoredHeader(request, peer) {
      if (ignored) return;
      const name = headers.find((header) => request.fieldLines(header).length > 0);
      if (name === undefined) return;
      ignored = true;
      const remedy = peer === undefined ? 'trustUnixSocket: true' : `trust: ['${peer}']`;
      warn(
        `clientIp ignored the header ${name} from ${peer ?? 'a Unix socket'}, which is not a trusted proxy. ` +
          `If it is your own proxy, trust it: clientIp({ ${remedy} })`,
        { code: 'GATEWARDEN_UNTRUSTED_FORWARDING' },
      );
    },
    missingHeader(proxy) {
      if (missing) return;
      missing = true;
      warn(
        `clientIp refused a request from the trusted proxy ${proxy ?? 'on a Unix socket'}, which named no client in ` +
          `${headers.join(' or ')}. Let the proxy set this header, or leave out "requireHeader"`,
        { code: 'GATEWARDEN_NO_FORWARDING' },
      );
    },
  };
}
