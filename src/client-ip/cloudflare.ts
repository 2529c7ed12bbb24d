import type { RequestView } from '../core/request-view.js';

/**
 * The addresses from which Cloudflare connects, as published at https://www.cloudflare.com/ips-v4 and ips-v6 on
 * 2026-11-01. If Cloudflare adds a range, the option `trust` can replace this list.
 */
export const CLOUDFLARE_RANGES: readonly string[] = [
  '173.245.48.0/20',
  '103.21.244.0/22',
  '103.22.200.0/22',
  '103.31.4.0/22',
  '141.101.64.0/18',
  '108.162.192.0/18',
  '190.93.240.0/20',
  '188.114.96.0/20',
  '197.234.240.0/22',
  '198.41.128.0/17',
  '162.158.0.0/15',
  '104.16.0.0/13',
  '104.24.0.0/14',
  '172.64.0.0/13',
  '131.0.72.0/22',
  '2400:cb00::/32',
  '2606:4700::/32',
  '2803:f800::/32',
  '2405:b500::/32',
  '2405:8100::/32',
  '2a06:98c0::/29',
  '2c0f:f248::/32',
];

/** The value of `CF-Connecting-IP` for every request from a Worker in another zone. All such Workers share it. */
export const WORKERS_ADDRESS = '2a06:98c0:3600::103';

const ZONE = /^[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}$/;

/**
 * The partition key of a Worker: its zone, which Cloudflare sets in `CF-Worker`. Without one, all Workers share a key.
 */
export function workerKey(request: RequestView): string {
  const lines = request.fieldLines('cf-worker');
  const zone = lines.length === 1 ? lines[0]?.toLowerCase() : undefined;
  return zone !== undefined && ZONE.test(zone) ? `cloudflare-worker:${zone}` : 'cloudflare-worker';
}
