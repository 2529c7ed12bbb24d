import type { ClientIp, ClientIpReason } from '../../src/core/client-ip.js';
import type { HeaderLine } from '../exchange-fixture.js';

export const xff = (...lines: readonly string[]): readonly HeaderLine[] =>
  lines.map((line) => ['X-Forwarded-For', line]);
export const forwardedLines = (...lines: readonly string[]): readonly HeaderLine[] =>
  lines.map((line) => ['Forwarded', line]);

export function answer(ip: string, reason: ClientIpReason, source = 'x-forwarded-for', key = ip): ClientIp {
  return { ip, key, source, reason };
}

export const PEER_IS_CLIENT = answer('127.0.0.1', 'malformed', 'socket');

/** What comes from a peer on loopback, where loopback is trusted, and whom it comes from. */
export const FORWARDING_ATTACKS: readonly (readonly [
  promise: string,
  headers: readonly HeaderLine[],
  expected: ClientIp,
])[] = [
  ['the peer itself, without a header', [], answer('127.0.0.1', 'direct', 'socket')],
  ['the peer itself, where the header is blank', xff(''), answer('127.0.0.1', 'all-trusted', 'socket')],
  ['the peer itself, where the header holds commas only', xff(' , ,,'), answer('127.0.0.1', 'all-trusted', 'socket')],
  ['the only entry', xff('1.2.3.4'), answer('1.2.3.4', 'untrusted')],
  ['the rightmost entry', xff('6.6.6.6, 1.2.3.4'), answer('1.2.3.4', 'untrusted')],
  ['the last of two header lines', xff('6.6.6.6', '1.2.3.4'), answer('1.2.3.4', 'untrusted')],
  ['the last entry of the last line', xff('7.7.7.7', '6.6.6.6,1.2.3.4'), answer('1.2.3.4', 'untrusted')],
  ['the line before a blank one', xff('6.6.6.6, 1.2.3.4', ''), answer('1.2.3.4', 'untrusted')],
  ['the line before one of trusted proxies', xff('6.6.6.6,1.2.3.4', '127.0.0.2'), answer('1.2.3.4', 'untrusted')],
  ['no port', xff('1.2.3.4:80'), answer('1.2.3.4', 'untrusted')],
  [
    'no brackets and port',
    xff('[2001:db8::1]:80'),
    answer('2001:db8::1', 'untrusted', 'x-forwarded-for', '2001:db8::/64'),
  ],
  [
    'no brackets',
    xff('6.6.6.6, [2001:db8::1]'),
    answer('2001:db8::1', 'untrusted', 'x-forwarded-for', '2001:db8::/64'),
  ],
  [
    'the shortest text of an IPv6 address',
    xff('2001:0DB8:0:0:0:0:0:1'),
    answer('2001:db8::1', 'untrusted', 'x-forwarded-for', '2001:db8::/64'),
  ],
  ['no zone', xff('fe80::1%eth0'), answer('fe80::1', 'untrusted', 'x-forwarded-for', 'fe80::/64')],
  ['what stands left of a trusted [::1]:80', xff('6.6.6.6, 1.2.3.4, [::1]:80'), answer('1.2.3.4', 'untrusted')],
  ['what stands left of trusted proxies', xff('1.2.3.4, 127.0.0.9, 127.1.2.3'), answer('1.2.3.4', 'untrusted')],
  ['what stands left of a mapped loopback', xff('1.2.3.4, ::ffff:127.0.0.1'), answer('1.2.3.4', 'untrusted')],
  ['IPv4 for ::ffff:1.2.3.4', xff('::ffff:1.2.3.4'), answer('1.2.3.4', 'untrusted')],
  ['IPv4 for ::ffff:102:304', xff('::ffff:102:304'), answer('1.2.3.4', 'untrusted')],
  ['IPv4 for [::ffff:1.2.3.4]:80', xff('[::ffff:1.2.3.4]:80'), answer('1.2.3.4', 'untrusted')],
  ['IPv6 for ::1.2.3.4', xff('::1.2.3.4'), answer('::102:304', 'untrusted', 'x-forwarded-for', '::/64')],
  [
    'no trust in ::127.0.0.1, which is not loopback',
    xff('6.6.6.6, ::127.0.0.1'),
    answer('::7f00:1', 'untrusted', 'x-forwarded-for', '::/64'),
  ],
  ['no blank members', xff('6.6.6.6,,1.2.3.4,'), answer('1.2.3.4', 'untrusted')],
  ['no spaces and tabs', xff('6.6.6.6 ,\t 1.2.3.4 \t'), answer('1.2.3.4', 'untrusted')],
  ['the peer, where a no-break space clings', xff('6.6.6.6, \u00a01.2.3.4'), PEER_IS_CLIENT],
  ['the peer, where a vertical tab clings', xff('6.6.6.6, 1.2.3.4\v'), PEER_IS_CLIENT],
  ['the peer for the octal 010.8.8.8', xff('6.6.6.6, 010.8.8.8'), PEER_IS_CLIENT],
  ['the peer for the hexadecimal 0x8.8.8.8', xff('6.6.6.6, 0x8.8.8.8'), PEER_IS_CLIENT],
  ['the peer for the number 134744072', xff('6.6.6.6, 134744072'), PEER_IS_CLIENT],
  ['the peer for the short 127.1', xff('6.6.6.6, 127.1'), PEER_IS_CLIENT],
  ['the peer for unknown', xff('6.6.6.6, unknown'), PEER_IS_CLIENT],
  ['the peer for <script>', xff('6.6.6.6, <script>'), PEER_IS_CLIENT],
  ['the peer for _hidden', xff('6.6.6.6, _hidden'), PEER_IS_CLIENT],
  ['the peer for ::', xff('6.6.6.6, ::'), PEER_IS_CLIENT],
  ['the peer for 0.0.0.0', xff('6.6.6.6, 0.0.0.0'), PEER_IS_CLIENT],
  ['the peer for ::ffff:0.0.0.0', xff('6.6.6.6, ::ffff:0.0.0.0'), PEER_IS_CLIENT],
  ['the peer for two addresses parted by a space', xff('6.6.6.6, 7.7.7.7 8.8.8.8'), PEER_IS_CLIENT],
  ['the peer for two addresses parted by a semicolon', xff('6.6.6.6;1.2.3.4'), PEER_IS_CLIENT],
  ['the peer for a quoted address', xff('6.6.6.6, "1.2.3.4"'), PEER_IS_CLIENT],
  ['the peer for a range', xff('6.6.6.6, 1.2.3.0/24'), PEER_IS_CLIENT],
  ['the peer for a bracketed IPv4', xff('6.6.6.6, [1.2.3.4]'), PEER_IS_CLIENT],
  ['the peer for an overlong entry', xff(`6.6.6.6, ${'1'.repeat(200)}`), PEER_IS_CLIENT],
  ['the last verified proxy, malformed further on', xff('6.6.6.6, x, 127.0.0.2'), answer('127.0.0.2', 'malformed')],
  ['the first untrusted, malformed further on', xff('x, 1.2.3.4, 127.0.0.2'), answer('1.2.3.4', 'untrusted')],
  ['the leftmost where all are trusted', xff('127.0.0.3, 127.0.0.2'), answer('127.0.0.3', 'all-trusted')],
  ['the entry beyond 31 trusted ones', xff(list('1.2.3.4', 31)), answer('1.2.3.4', 'untrusted')],
  ['the leftmost of 32 trusted ones', xff(list(undefined, 32)), answer('127.0.1.32', 'all-trusted')],
  ['the 32nd, where 32 trusted ones hide one more', xff(list('1.2.3.4', 32)), answer('127.0.1.32', 'malformed')],
  ['the 32nd of 33 trusted ones', xff(list(undefined, 33)), answer('127.0.1.32', 'malformed')],
  ['the 32nd of 33 over many lines', xff(...list(undefined, 33).split(',')), answer('127.0.1.32', 'malformed')],
  ['the untrusted right of 40 entries of an attacker', xff(`${junk(40)}, 1.2.3.4`), answer('1.2.3.4', 'untrusted')],
  [
    'the untrusted right of 40 lines of an attacker',
    xff(...junk(40).split(','), '1.2.3.4'),
    answer('1.2.3.4', 'untrusted'),
  ],
  ['nothing from X-Real-IP', [['X-Real-IP', '6.6.6.6']], answer('127.0.0.1', 'direct', 'socket')],
  ['nothing from X-Original-IP', [['X-Original-IP', '6.6.6.6']], answer('127.0.0.1', 'direct', 'socket')],
  ['nothing from Forwarded', forwardedLines('for=6.6.6.6'), answer('127.0.0.1', 'direct', 'socket')],
];

/** `count` trusted proxies, the nearest (127.0.1.1) on the right, and perhaps a client on their left. */
function list(client: string | undefined, count: number): string {
  const proxies = Array.from({ length: count }, (_, i) => `127.0.1.${count - i}`);
  return [...(client === undefined ? [] : [client]), ...proxies].join(',');
}

function junk(count: number): string {
  return Array.from({ length: count }, (_, i) => (i % 2 === 0 ? '127.0.0.1' : '6.6.6.6')).join(',');
}
