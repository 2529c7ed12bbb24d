import { type ClientIpOptions, clientIp, OptionError } from 'gatewarden';
import { checked, list, type Setting } from 'gatewarden/env';

/**
 * The variable `TRUSTED_PROXIES`: addresses, ranges and names as `trust` of `clientIp` takes them, or one of the presets
 * `cloudflare` and `cloudflared`.
 */
export function trustedProxies(): Setting<readonly string[]> {
  return checked(list({ default: [] }), (proxies) => clientIp(proxyOptions(proxies)));
}

/**
 * The options of `clientIp` for these proxies. A preset reads the client's address from `CF-Connecting-IP`. Next to other
 * proxies, `cloudflare` stands for Cloudflare's ranges, and the address is read from `X-Forwarded-For`.
 * @throws OptionError for `cloudflared` next to other proxies
 */
export function proxyOptions(proxies: readonly string[]): Pick<ClientIpOptions, 'preset' | 'trust'> {
  const names = new Set(proxies.map((proxy) => proxy.toLowerCase()));
  for (const preset of ['cloudflare', 'cloudflared'] as const) {
    if (names.size === 1 && names.has(preset)) return { preset };
  }
  if (names.has('cloudflared')) throw new OptionError('gatewarden: cloudflared must be the only proxy');
  return { trust: proxies };
}
