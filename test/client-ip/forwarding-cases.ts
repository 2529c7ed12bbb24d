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

/** Headers that a trusted peer on loopback sends, and the client that they result in. */
export const FORWARDING_CASES: readonly (readonly [
  promise: string,
  headers: readonly HeaderLine[],
  expected: ClientIp,
])[] = [
  ['uses the peer if there is no header', [], answer('127.0.0.1', 'direct', 'socket')],
  ['uses the peer if the header is blank', xff(''), answer('127.0.0.1', 'all-trusted', 'socket')],
  ['uses the peer if the header contains only commas', xff(' , ,,'), answer('127.0.0.1', 'all-trusted', 'socket')],
  ['uses the only entry', xff('1.2.3.4'), answer('1.2.3.4', 'untrusted')],
  ['uses the rightmost entry', xff('6.6.6.6, 1.2.3.4'), answer('1.2.3.4', 'untrusted')],
  ['uses the last of two header lines', xff('6.6.6.6', '1.2.3.4'), answer('1.2.3.4', 'untrusted')],
  ['uses the last entry of the last line', xff('7.7.7.7', '6.6.6.6,1.2.3.4'), answer('1.2.3.4', 'untrusted')],
  ['uses the line before a blank one', xff('6.6.6.6, 1.2.3.4', ''), answer('1.2.3.4', 'untrusted')],
  ['uses the line before one of trusted proxies', xff('6.6.6.6,1.2.3.4', '127.0.0.2'), answer('1.2.3.4', 'untrusted')],
  ['removes a port', xff('1.2.3.4:80'), answer('1.2.3.4', 'untrusted')],
  ['uses the peer if the port is above 65535', xff('6.6.6.6, 1.2.3.4:99999'), PEER_IS_CLIENT],
  ['uses the peer if the port after brackets is above 65535', xff('6.6.6.6, [2001:db8::1]:65536'), PEER_IS_CLIENT],
  ['uses the peer if the port is obfuscated as in Forwarded', xff('6.6.6.6, 1.2.3.4:_mdn'), PEER_IS_CLIENT],
  [
    'removes brackets and port',
    xff('[2001:db8::1]:80'),
    answer('2001:db8::1', 'untrusted', 'x-forwarded-for', '2001:db8::/64'),
  ],
  [
    'removes brackets',
    xff('6.6.6.6, [2001:db8::1]'),
    answer('2001:db8::1', 'untrusted', 'x-forwarded-for', '2001:db8::/64'),
  ],
  [
    'writes an IPv6 address in its shortest form',
    xff('2001:0DB8:0:0:0:0:0:1'),
    answer('2001:db8::1', 'untrusted', 'x-forwarded-for', '2001:db8::/64'),
  ],
  ['removes a zone', xff('fe80::1%eth0'), answer('fe80::1', 'untrusted', 'x-forwarded-for', 'fe80::/64')],
  ['uses the entry left of a trusted [::1]:80', xff('6.6.6.6, 1.2.3.4, [::1]:80'), answer('1.2.3.4', 'untrusted')],
  ['uses the entry left of trusted proxies', xff('1.2.3.4, 127.0.0.9, 127.1.2.3'), answer('1.2.3.4', 'untrusted')],
  [
    'uses the entry left of an IPv4-mapped loopback address',
    xff('1.2.3.4, ::ffff:127.0.0.1'),
    answer('1.2.3.4', 'untrusted'),
  ],
  ['writes ::ffff:1.2.3.4 as IPv4', xff('::ffff:1.2.3.4'), answer('1.2.3.4', 'untrusted')],
  ['writes ::ffff:102:304 as IPv4', xff('::ffff:102:304'), answer('1.2.3.4', 'untrusted')],
  ['writes [::ffff:1.2.3.4]:80 as IPv4', xff('[::ffff:1.2.3.4]:80'), answer('1.2.3.4', 'untrusted')],
  ['writes ::1.2.3.4 as IPv6', xff('::1.2.3.4'), answer('::102:304', 'untrusted', 'x-forwarded-for', '::/64')],
  [
    'does not trust ::127.0.0.1, which is not loopback',
    xff('6.6.6.6, ::127.0.0.1'),
    answer('::7f00:1', 'untrusted', 'x-forwarded-for', '::/64'),
  ],
  ['skips blank members', xff('6.6.6.6,,1.2.3.4,'), answer('1.2.3.4', 'untrusted')],
  ['trims spaces and tabs', xff('6.6.6.6 ,\t 1.2.3.4 \t'), answer('1.2.3.4', 'untrusted')],
  ['uses the peer if the entry has a no-break space', xff('6.6.6.6, \u00a01.2.3.4'), PEER_IS_CLIENT],
  ['uses the peer if the entry has a vertical tab', xff('6.6.6.6, 1.2.3.4\v'), PEER_IS_CLIENT],
  ['uses the peer instead of the octal 010.8.8.8', xff('6.6.6.6, 010.8.8.8'), PEER_IS_CLIENT],
  ['uses the peer instead of the hexadecimal 0x8.8.8.8', xff('6.6.6.6, 0x8.8.8.8'), PEER_IS_CLIENT],
  ['uses the peer instead of the number 134744072', xff('6.6.6.6, 134744072'), PEER_IS_CLIENT],
  ['uses the peer instead of the short 127.1', xff('6.6.6.6, 127.1'), PEER_IS_CLIENT],
  ['uses the peer instead of unknown', xff('6.6.6.6, unknown'), PEER_IS_CLIENT],
  ['uses the peer instead of <script>', xff('6.6.6.6, <script>'), PEER_IS_CLIENT],
  ['uses the peer instead of _hidden', xff('6.6.6.6, _hidden'), PEER_IS_CLIENT],
  ['uses the peer instead of ::', xff('6.6.6.6, ::'), PEER_IS_CLIENT],
  ['uses the peer instead of 0.0.0.0', xff('6.6.6.6, 0.0.0.0'), PEER_IS_CLIENT],
  ['uses the peer instead of ::ffff:0.0.0.0', xff('6.6.6.6, ::ffff:0.0.0.0'), PEER_IS_CLIENT],
  ['uses the peer instead of two addresses separated by a space', xff('6.6.6.6, 7.7.7.7 8.8.8.8'), PEER_IS_CLIENT],
  ['uses the peer instead of two addresses separated by a semicolon', xff('6.6.6.6;1.2.3.4'), PEER_IS_CLIENT],
  ['uses the peer instead of a quoted address', xff('6.6.6.6, "1.2.3.4"'), PEER_IS_CLIENT],
  ['uses the peer instead of a range', xff('6.6.6.6, 1.2.3.0/24'), PEER_IS_CLIENT],
  ['uses the peer instead of an IPv4 address in brackets', xff('6.6.6.6, [1.2.3.4]'), PEER_IS_CLIENT],
  ['uses the peer instead of an entry that is too long', xff(`6.6.6.6, ${'1'.repeat(200)}`), PEER_IS_CLIENT],
  [
    'uses the last verified proxy if the next entry is malformed',
    xff('6.6.6.6, x, 127.0.0.2'),
    answer('127.0.0.2', 'malformed'),
  ],
  [
    'uses the first untrusted address if a later entry is malformed',
    xff('x, 1.2.3.4, 127.0.0.2'),
    answer('1.2.3.4', 'untrusted'),
  ],
  ['uses the leftmost entry if all are trusted', xff('127.0.0.3, 127.0.0.2'), answer('127.0.0.3', 'all-trusted')],
  ['uses the entry beyond 31 trusted ones', xff(chain('1.2.3.4', 31)), answer('1.2.3.4', 'untrusted')],
  ['uses the leftmost of 32 trusted ones', xff(chain(undefined, 32)), answer('127.0.1.32', 'all-trusted')],
  [
    'uses the 32nd entry if one more follows 32 trusted ones',
    xff(chain('1.2.3.4', 32)),
    answer('127.0.1.32', 'malformed'),
  ],
  ['uses the 32nd of 33 trusted ones', xff(chain(undefined, 33)), answer('127.0.1.32', 'malformed')],
  [
    'uses the 32nd of 33 trusted ones in many lines',
    xff(...chain(undefined, 33).split(',')),
    answer('127.0.1.32', 'malformed'),
  ],
  [
    'uses the untrusted address right of 40 entries of an attacker',
    xff(`${spoofed(40)}, 1.2.3.4`),
    answer('1.2.3.4', 'untrusted'),
  ],
  [
    'uses the untrusted address right of 40 lines of an attacker',
    xff(...spoofed(40).split(','), '1.2.3.4'),
    answer('1.2.3.4', 'untrusted'),
  ],
  ['ignores X-Real-IP', [['X-Real-IP', '6.6.6.6']], answer('127.0.0.1', 'direct', 'socket')],
  ['ignores X-Original-IP', [['X-Original-IP', '6.6.6.6']], answer('127.0.0.1', 'direct', 'socket')],
  ['ignores Forwarded', forwardedLines('for=6.6.6.6'), answer('127.0.0.1', 'direct', 'socket')],
];

/** A list of `count` trusted proxies, the nearest (127.0.1.1) on the right, with an optional client on the left. */
function chain(client: string | undefined, count: number): string {
  const proxies = Array.from({ length: count }, (_, i) => `127.0.1.${count - i}`);
  return [...(client === undefined ? [] : [client]), ...proxies].join(',');
}

function spoofed(count: number): string {
  return Array.from({ length: count }, (_, i) => (i % 2 === 0 ? '127.0.0.1' : '6.6.6.6')).join(',');
}
