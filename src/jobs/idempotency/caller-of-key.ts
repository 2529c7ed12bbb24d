import { addressKey } from '../../core/address.js';
import type { Exchange } from '../../core/exchange.js';

/** Headers with which proxies name the client. */
const FORWARDING_HEADERS = ['x-forwarded-for', 'x-real-ip', 'forwarded', 'cf-connecting-ip'];

/**
 * Whose keys an exchange uses. Throws rather than give one caller the keys of another: behind a proxy, the socket's address
 * is the same for all of them.
 */
export function callerOfKey({ principal, clientIp, request }: Exchange): readonly [kind: string, id: string] {
  if (principal !== undefined) return ['principal', principal.id];
  if (clientIp !== undefined) return ['client-ip', clientIp.key];
  if (FORWARDING_HEADERS.some((name) => request.fieldLines(name).length > 0)) throw new Error(NO_CALLER);
  const { remoteAddress } = request;
  return ['client-ip', remoteAddress === undefined ? 'unix-socket' : (addressKey(remoteAddress) ?? remoteAddress)];
}

const NO_CALLER =
  'gatewarden: idempotent cannot tell clients apart: there is no principal, and the request came through a proxy; put ' +
  'authenticate(...), or clientIp({ trust: [...] }), before idempotent(...)';
