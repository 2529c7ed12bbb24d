import { BlockList, isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ClientIpOptions, clientIp } from '../../src/client-ip/client-ip.js';
import type { ClientIp, ClientIpReason } from '../../src/core/client-ip.js';
import { OptionError } from '../../src/core/option.js';
import type { Principal } from '../../src/core/principal.js';
import { sequence } from '../../src/core/sequence.js';
import { type HeaderLine, testExchange } from '../exchange-fixture.js';
import { answer, FORWARDING_CASES, forwardedLines, PEER_IS_CLIENT, xff } from './forwarding-cases.js';

interface Sent {
  /** Default 127.0.0.1. Null means that the socket has no address. */
  readonly peer?: string | null;
  readonly headers?: readonly HeaderLine[];
  readonly principal?: Principal;
}

const LOOPBACK: ClientIpOptions = { trust: ['loopback'] };

function resolve(options: ClientIpOptions, sent: Sent): ClientIp {
  return resolver(options)(sent);
}

function resolver(options: ClientIpOptions): (sent: Sent) => ClientIp {
  const guard = clientIp(options);
  return ({ peer = '127.0.0.1', headers = [], principal }) => {
    const { exchange } = testExchange({ remoteAddress: peer ?? undefined, headers, principal });
    expect(guard(exchange)).toBeUndefined();
    if (exchange.clientIp === undefined) throw new Error('clientIp set no address');
    return exchange.clientIp;
  };
}

describe('clientIp behind a proxy on loopback', () => {
  it.each(FORWARDING_CASES)('%s', (_promise, headers, expected) => {
    expect(resolve(LOOPBACK, { headers })).toEqual(expected);
  });

  it('reads a header in any case', () => {
    for (const name of ['x-forwarded-for', 'X-FORWARDED-FOR']) {
      expect(resolve(LOOPBACK, { headers: [[name, '1.2.3.4']] }).ip).toBe('1.2.3.4');
    }
  });
});

describe('trust', () => {
  const cases: readonly (readonly [trust: readonly string[], sent: Sent, expected: ClientIp])[] = [
    [['loopback'], { peer: '9.9.9.9', headers: xff('6.6.6.6, 1.2.3.4') }, answer('9.9.9.9', 'direct', 'socket')],
    [[], { headers: xff('1.2.3.4') }, answer('127.0.0.1', 'direct', 'socket')],
    [['loopback'], { peer: '::1', headers: xff('1.2.3.4') }, answer('1.2.3.4', 'untrusted')],
    [['loopback'], { peer: '::ffff:127.0.0.1', headers: xff('1.2.3.4') }, answer('1.2.3.4', 'untrusted')],
    [['loopback'], { peer: '::ffff:9.9.9.9', headers: xff('1.2.3.4') }, answer('9.9.9.9', 'direct', 'socket')],
    [['loopback'], { peer: '128.0.0.1', headers: xff('1.2.3.4') }, answer('128.0.0.1', 'direct', 'socket')],
    [['linklocal'], { peer: 'fe80::1%eth0', headers: xff('1.2.3.4') }, answer('1.2.3.4', 'untrusted')],
    [['linklocal'], { peer: 'fec0::1', headers: xff('1.2.3.4') }, answer('fec0::1', 'direct', 'socket', 'fec0::/64')],
    [['linklocal'], { peer: '169.254.1.1', headers: xff('1.2.3.4') }, answer('1.2.3.4', 'untrusted')],
    [['uniquelocal'], { peer: '172.31.255.255', headers: xff('1.2.3.4') }, answer('1.2.3.4', 'untrusted')],
    [['uniquelocal'], { peer: '172.32.0.0', headers: xff('1.2.3.4') }, answer('172.32.0.0', 'direct', 'socket')],
    [['uniquelocal'], { peer: 'fd00::1', headers: xff('1.2.3.4') }, answer('1.2.3.4', 'untrusted')],
    [['10.0.0.0/8'], { peer: '10.255.255.255', headers: xff('1.2.3.4') }, answer('1.2.3.4', 'untrusted')],
    [['10.0.0.0/8'], { peer: '11.0.0.0', headers: xff('1.2.3.4') }, answer('11.0.0.0', 'direct', 'socket')],
    [['192.0.2.8/29'], { peer: '192.0.2.15', headers: xff('1.2.3.4') }, answer('1.2.3.4', 'untrusted')],
    [['192.0.2.8/29'], { peer: '192.0.2.16', headers: xff('1.2.3.4') }, answer('192.0.2.16', 'direct', 'socket')],
    [['192.0.2.8'], { peer: '192.0.2.8', headers: xff('1.2.3.4') }, answer('1.2.3.4', 'untrusted')],
    [['192.0.2.8'], { peer: '192.0.2.9', headers: xff('1.2.3.4') }, answer('192.0.2.9', 'direct', 'socket')],
    [['2001:db8::/33'], { peer: '2001:db8:7fff::1', headers: xff('1.2.3.4') }, answer('1.2.3.4', 'untrusted')],
    [
      ['2001:db8::/33'],
      { peer: '2001:db8:8000::1', headers: xff('1.2.3.4') },
      answer('2001:db8:8000::1', 'direct', 'socket', '2001:db8:8000::/64'),
    ],
    [
      ['loopback', '10.0.0.0/8', '2001:db8::7'],
      { headers: xff('6.6.6.6, 1.2.3.4, 10.0.0.1, [2001:db8::7]:4000') },
      answer('1.2.3.4', 'untrusted'),
    ],
  ];

  it.each([
    ['loopback', '126.255.255.255', '127.0.0.0', '127.255.255.255', '128.0.0.0'],
    ['loopback', '2001:db8::1', '::1', '::1', '::2'],
    ['linklocal', '169.253.255.255', '169.254.0.0', '169.254.255.255', '169.255.0.0'],
    ['linklocal', 'fe7f::1', 'fe80::', 'febf::1', 'fec0::'],
    ['uniquelocal', '9.255.255.255', '10.0.0.0', '10.255.255.255', '11.0.0.0'],
    ['uniquelocal', '172.15.255.255', '172.16.0.0', '172.31.255.255', '172.32.0.0'],
    ['uniquelocal', '192.167.255.255', '192.168.0.0', '192.168.255.255', '192.169.0.0'],
    ['uniquelocal', 'fbff::1', 'fc00::', 'fdff::1', 'fe00::'],
  ])('%s does not contain %s, contains %s to %s, and does not contain %s', (name, before, first, last, after) => {
    const ask = resolver({ trust: [name] });
    const believed = [before, first, last, after].map(
      (peer) => ask({ peer, headers: xff('1.2.3.4') }).ip === '1.2.3.4',
    );
    expect(believed).toEqual([false, true, true, false]);
  });

  it.each(cases)('%j with the request %j results in %j', (trust, sent, expected) => {
    expect(resolve({ trust }, sent)).toEqual(expected);
  });

  it('is empty by default', () => {
    expect(resolve({}, { headers: xff('1.2.3.4') })).toEqual(answer('127.0.0.1', 'direct', 'socket'));
    const guard = clientIp();
    const { exchange } = testExchange({ headers: xff('1.2.3.4') });
    guard(exchange);
    expect(exchange.clientIp?.ip).toBe('127.0.0.1');
  });

  it('is not affected by later changes of the options', () => {
    const trust = ['loopback'];
    const headers: ('x-real-ip' | 'forwarded')[] = ['x-real-ip'];
    const ask = resolver({ trust, headers });
    trust.push('9.9.9.9');
    headers.unshift('forwarded');
    const sent: readonly HeaderLine[] = [
      ['Forwarded', 'for=6.6.6.6'],
      ['X-Real-IP', '1.2.3.4'],
    ];
    expect(ask({ peer: '9.9.9.9', headers: sent }).ip).toBe('9.9.9.9');
    expect(ask({ headers: sent }).ip).toBe('1.2.3.4');
  });

  it('is not applied if the address of the socket cannot be parsed: the request fails with a fault', async () => {
    const { exchange, faults } = testExchange({ remoteAddress: 'garbage', headers: xff('1.2.3.4') });
    expect(await sequence(clientIp(LOOPBACK))(exchange)).toMatchObject({ status: 500 });
    expect(exchange.clientIp).toBeUndefined();
    expect(faults).toHaveLength(1);
  });
});

describe('headers', () => {
  const all: readonly HeaderLine[] = [
    ['X-Forwarded-For', '1.1.1.1'],
    ['X-Real-IP', '2.2.2.2'],
    ['X-Original-IP', '3.3.3.3'],
    ['Forwarded', 'for=4.4.4.4'],
  ];

  it.each([
    [['x-real-ip', 'x-forwarded-for'], all, answer('2.2.2.2', 'untrusted', 'x-real-ip')],
    [['x-original-ip', 'x-real-ip'], all, answer('3.3.3.3', 'untrusted', 'x-original-ip')],
    [['forwarded', 'x-forwarded-for'], all, answer('4.4.4.4', 'untrusted', 'forwarded')],
    [['x-forwarded-for', 'forwarded'], all, answer('1.1.1.1', 'untrusted')],
    [['x-real-ip', 'x-forwarded-for'], xff('1.1.1.1'), answer('1.1.1.1', 'untrusted')],
    [['x-real-ip'], xff('1.1.1.1'), answer('127.0.0.1', 'direct', 'socket')],
    [['x-real-ip', 'x-forwarded-for'], [['X-Real-IP', 'x'], ...xff('1.1.1.1')], PEER_IS_CLIENT],
  ] as const)('are read in the order %j, and the first that is present counts', (headers, sent, expected) => {
    expect(resolve({ ...LOOPBACK, headers }, { headers: sent })).toEqual(expected);
  });
});

describe('a peer on a Unix socket', () => {
  const none: ClientIp = { ip: undefined, key: 'unix-socket', source: 'socket', reason: 'no-address' };

  it('is not trusted by default', () => {
    expect(resolve(LOOPBACK, { peer: null, headers: xff('1.2.3.4') })).toEqual(none);
  });

  it('is trusted with trustUnixSocket', () => {
    const options = { ...LOOPBACK, trustUnixSocket: true };
    expect(resolve(options, { peer: null, headers: xff('6.6.6.6, 1.2.3.4, 127.0.0.1') })).toEqual(
      answer('1.2.3.4', 'untrusted'),
    );
    expect(resolve(options, { peer: null })).toEqual(none);
    expect(resolve(options, { peer: null, headers: xff('6.6.6.6, x') })).toEqual({ ...none, reason: 'malformed' });
  });

  it('does not make a peer with an address trusted', () => {
    const options = { trustUnixSocket: true };
    expect(resolve(options, { peer: '9.9.9.9', headers: xff('1.2.3.4') }).ip).toBe('9.9.9.9');
  });
});

describe('an authenticated forwarder', () => {
  const principal = (id: string): Principal => ({ id, scheme: 'test', scopes: [], credentialId: 'c' });
  const main = principal('main-server');
  const options: ClientIpOptions = { trust: ['loopback'], forwarder: ({ id }) => id === 'main-server' };
  const peer = '9.9.9.9';

  const cases: readonly (readonly [promise: string, sent: Sent, expected: ClientIp])[] = [
    ['names its client in X-Forwarded-For', { peer, headers: xff('1.2.3.4') }, answer('1.2.3.4', 'forwarder')],
    [
      'names its client in X-Real-IP',
      { peer, headers: [['X-Real-IP', '1.2.3.4']] },
      answer('1.2.3.4', 'forwarder', 'x-real-ip'),
    ],
    [
      'names its client in X-Original-IP',
      { peer, headers: [['X-Original-IP', '1.2.3.4']] },
      answer('1.2.3.4', 'forwarder', 'x-original-ip'),
    ],
    [
      'is read from X-Forwarded-For first',
      { peer, headers: [['X-Original-IP', '3.3.3.3'], ['X-Real-IP', '2.2.2.2'], ...xff('1.1.1.1')] },
      answer('1.1.1.1', 'forwarder'),
    ],
    [
      'is read from X-Real-IP before X-Original-IP',
      {
        peer,
        headers: [
          ['X-Original-IP', '3.3.3.3'],
          ['X-Real-IP', '2.2.2.2'],
        ],
      },
      answer('2.2.2.2', 'forwarder', 'x-real-ip'),
    ],
    ['is not read from Forwarded', { peer, headers: forwardedLines('for=1.2.3.4') }, answer(peer, 'direct', 'socket')],
    ['is believed for one hop only', { peer, headers: xff('6.6.6.6, 1.2.3.4') }, answer('1.2.3.4', 'forwarder')],
    [
      'may name a trusted address, which ends the walk',
      { peer, headers: xff('6.6.6.6, 127.0.0.1') },
      answer('127.0.0.1', 'forwarder'),
    ],
    ['is the client itself if it sends no header', { peer, headers: [] }, answer(peer, 'direct', 'socket')],
    ['is the client itself if its header is blank', { peer, headers: xff(', ') }, answer(peer, 'untrusted', 'socket')],
    [
      'is the client itself if its header has no valid address',
      { peer, headers: xff('6.6.6.6, unknown') },
      answer(peer, 'malformed', 'socket'),
    ],
    [
      'is believed behind a trusted proxy',
      { headers: xff('6.6.6.6, 1.2.3.4, 9.9.9.9') },
      answer('1.2.3.4', 'forwarder'),
    ],
    [
      'is the client itself behind a trusted proxy if it names no client',
      { headers: xff('9.9.9.9') },
      answer('9.9.9.9', 'untrusted'),
    ],
    [
      'is the client itself behind a trusted proxy if its entry is malformed',
      { headers: xff('x, 9.9.9.9') },
      answer('9.9.9.9', 'malformed'),
    ],
    [
      'does not make a malformed entry of a proxy believed',
      { headers: xff('1.2.3.4, x, 127.0.0.2') },
      answer('127.0.0.2', 'malformed'),
    ],
    [
      'may connect over a Unix socket',
      { peer: null, headers: xff('6.6.6.6, 1.2.3.4') },
      answer('1.2.3.4', 'forwarder'),
    ],
  ];

  it.each(cases)('%s', (_promise, sent, expected) => {
    expect(resolve(options, { ...sent, principal: main })).toEqual(expected);
  });

  it('does not need a trusted range', () => {
    const ask = resolver({ forwarder: () => true });
    expect(ask({ peer, headers: xff('6.6.6.6, 1.2.3.4'), principal: main })).toEqual(answer('1.2.3.4', 'forwarder'));
  });

  it('is read from the configured headers', () => {
    const ask = resolver({ ...options, headers: ['x-original-ip'] });
    const headers: readonly HeaderLine[] = [...xff('6.6.6.6'), ['X-Original-IP', '1.2.3.4']];
    expect(ask({ peer, headers, principal: main })).toEqual(answer('1.2.3.4', 'forwarder', 'x-original-ip'));
  });

  it('does not include other principals or callers without a principal', () => {
    const direct = answer(peer, 'direct', 'socket');
    expect(resolve(options, { peer, headers: xff('1.2.3.4'), principal: principal('other') })).toEqual(direct);
    expect(resolve(options, { peer, headers: xff('1.2.3.4') })).toEqual(direct);
    expect(resolve(LOOPBACK, { peer, headers: xff('1.2.3.4'), principal: main })).toEqual(direct);
    expect(resolve(options, { headers: [['X-Real-IP', '6.6.6.6']] })).toEqual(answer('127.0.0.1', 'direct', 'socket'));
  });

  it('must be authenticated, whatever the function returns', () => {
    const ask = resolver({ forwarder: () => true });
    expect(ask({ peer, headers: xff('1.2.3.4') })).toEqual(answer(peer, 'direct', 'socket'));
  });

  it.each([
    ['a promise', async () => true],
    ['a truthy value', () => 1],
  ])('is not recognized if the function returns %s', (_what, forwarder) => {
    const ask = resolver({ forwarder: forwarder as unknown as () => boolean });
    expect(ask({ peer, headers: xff('1.2.3.4'), principal: main })).toEqual(answer(peer, 'direct', 'socket'));
  });
});

it('survives a rejected promise of forwarder', async () => {
  const forwarder = (() => Promise.reject(new Error('no table'))) as unknown as () => boolean;
  const principal: Principal = { id: 'main', scheme: 'test', scopes: [], credentialId: 'c' };
  expect(resolve({ forwarder }, { peer: '9.9.9.9', headers: xff('1.2.3.4'), principal }).ip).toBe('9.9.9.9');
  await new Promise((turn) => setImmediate(turn));
});

describe('Forwarded (RFC 7239)', () => {
  const v6 = (ip: string, key: string) => answer(ip, 'untrusted', 'forwarded', key);
  const v4 = (ip: string) => answer(ip, 'untrusted', 'forwarded');

  const cases: readonly (readonly [lines: readonly string[], expected: ClientIp])[] = [
    [['for=1.2.3.4'], v4('1.2.3.4')],
    [['For=1.2.3.4'], v4('1.2.3.4')],
    [['for="1.2.3.4"'], v4('1.2.3.4')],
    [['for="1.2.3.4:80"'], v4('1.2.3.4')],
    [['for="[2001:db8::1]"'], v6('2001:db8::1', '2001:db8::/64')],
    [['for="[2001:db8::1]:4711"'], v6('2001:db8::1', '2001:db8::/64')],
    [['for="[2001:db8::1]:_port"'], v6('2001:db8::1', '2001:db8::/64')],
    [['for=6.6.6.6, for="198.51.100.43:_mdn"'], v4('198.51.100.43')],
    [['for=6.6.6.6, for="198.51.100.43:_A.b-c_9"'], v4('198.51.100.43')],
    [['for=6.6.6.6, for="1.2.3.4:\\_mdn"'], v4('1.2.3.4')],
    [['for=6.6.6.6, for="127.0.0.2:_a"'], answer('6.6.6.6', 'untrusted', 'forwarded')],
    [['for=6.6.6.6, for="1.2.3.4:_"'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for="1.2.3.4:mdn"'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for="1.2.3.4:_a b"'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for="1.2.3.4:80:_a"'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for="1.2.3.4:_a:_b"'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for="1.2.3.4:_a:80"'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for="2001:db8::1:_a"'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for="[2001:db8::1:_a"'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for="[1.2.3.4]:_a"'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for="unknown:_a"'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for="_hidden:_a"'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for=1.2.3.4:_a'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for="1.2.3.4:99999"'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for="[2001:db8::1]:65536"'], PEER_IS_CLIENT],
    [['proto=https;for=1.2.3.4;by=203.0.113.43;host=example.com'], v4('1.2.3.4')],
    [['by=6.6.6.6;for=1.2.3.4'], v4('1.2.3.4')],
    [['fort=6.6.6.6;for=1.2.3.4'], v4('1.2.3.4')],
    [['for=6.6.6.6, for=1.2.3.4'], v4('1.2.3.4')],
    [['for=6.6.6.6', 'for=1.2.3.4'], v4('1.2.3.4')],
    [['for=6.6.6.6, for=1.2.3.4, for=127.0.0.2'], v4('1.2.3.4')],
    [['for=6.6.6.6, for=1.2.3.4', 'for="[::1]:80"'], v4('1.2.3.4')],
    [['for=6.6.6.6,for=1.2.3.4 ,, \t,'], v4('1.2.3.4')],
    [['for=1.2.3.4;'], v4('1.2.3.4')],
    [['for=1.2.3.4 ; proto=http'], v4('1.2.3.4')],
    [['host="a, for=6.6.6.6";for=1.2.3.4'], v4('1.2.3.4')],
    [['host="a\\", for=6.6.6.6, b=\\"";for=1.2.3.4'], v4('1.2.3.4')],
    [['for="1.2.\\3.4"'], v4('1.2.3.4')],
    [['for="\\1\\.2.3.4\\:80"'], v4('1.2.3.4')],
    [['for=127.0.0.3, for=127.0.0.2'], answer('127.0.0.3', 'all-trusted', 'forwarded')],
    [['', ' , ;'], answer('127.0.0.1', 'all-trusted', 'socket')],
    [['for=6.6.6.6, for=unknown'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for=_hidden'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for="_hidden"'], PEER_IS_CLIENT],
    [['for=6.6.6.6, proto=https'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for='], PEER_IS_CLIENT],
    [['for=6.6.6.6, for=""'], PEER_IS_CLIENT],
    [['for=6.6.6.6', '6.6.6.6'], PEER_IS_CLIENT],
    [['for=6.6.6.6;for=1.2.3.4'], PEER_IS_CLIENT],
    [['for=1.2.3.4;for=1.2.3.4'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for=1.2.3.4;FOR=6.6.6.6'], PEER_IS_CLIENT],
    [['for = 6.6.6.6'], PEER_IS_CLIENT],
    [['for= 6.6.6.6'], PEER_IS_CLIENT],
    [['for:6.6.6.6'], PEER_IS_CLIENT],
    [['for=1.2.3.4:80'], PEER_IS_CLIENT],
    [['for=[2001:db8::1]'], PEER_IS_CLIENT],
    [['for=1.2.3.4 for=6.6.6.6'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for=1.2.3.4 proto=https'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for="1.2.3.4"proto=https'], PEER_IS_CLIENT],
    [['for=6.6.6.6, proto=https, for=127.0.0.2'], answer('127.0.0.2', 'malformed', 'forwarded')],
    [['for=6.6.6.6, for="1.2.3.4'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for=1.2.3.4"'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for="1.2.3.4\\"'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for="1.2.3.4"x'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for="\u0001"'], PEER_IS_CLIENT],
    [['for=6.6.6.6, f\u00f6r=1.2.3.4'], PEER_IS_CLIENT],
    [['for=6.6.6.6, for=1.2.3.4\u00a0'], PEER_IS_CLIENT],
    // An attacker's open quote on the left must not swallow what the proxy appended on the right.
    [['for=6.6.6.6;x=", for=1.2.3.4'], PEER_IS_CLIENT],
    [['for=6.6.6.6;x=", for="1.2.3.4:80"'], PEER_IS_CLIENT],
    [['for=6.6.6.6;x=", for="[2001:db8::1]";proto=https'], PEER_IS_CLIENT],
    [['for=6.6.6.6;x="\\', 'for=1.2.3.4'], v4('1.2.3.4')],
    [['for=6.6.6.6, for="', 'for=1.2.3.4, for=127.0.0.2'], v4('1.2.3.4')],
    [['for=6.6.6.6, x', 'for=127.0.0.2'], answer('127.0.0.2', 'malformed', 'forwarded')],
    [
      [`for=6.6.6.6, ${Array.from({ length: 32 }, (_, i) => `for=127.0.1.${32 - i}`).join(', ')}`],
      answer('127.0.1.32', 'malformed', 'forwarded'),
    ],
    [[`${'for=6.6.6.6, '.repeat(40)}for=1.2.3.4`], v4('1.2.3.4')],
  ];

  it.each(cases)('%j', (lines, expected) => {
    expect(resolve({ ...LOOPBACK, headers: ['forwarded'] }, { headers: forwardedLines(...lines) })).toEqual(expected);
  });

  it('never lets a client choose the address with text on the left', () => {
    const ask = resolver({ ...LOOPBACK, headers: ['forwarded'] });
    const piece = fc.constantFrom('for=6.6.6.6', 'for="6.6.6.6"', 'x="', '"', '\\', '\\"', ',', ';', '=', ' ', 'for=');
    const attack = fc.array(fc.oneof(piece, fc.string({ unit: latin1, maxLength: 3 })), { maxLength: 12 });
    const appended = fc.constantFrom(
      'for=9.8.7.6',
      'for="9.8.7.6"',
      'for="9.8.7.6:80"',
      'proto=https;for=9.8.7.6;by="_proxy"',
      'for="9.8.7.6:443";host="example.com:80";proto=https',
    );
    fc.assert(
      fc.property(attack, appended, (pieces, element) => {
        const line = pieces.join('');
        const sameLine = ask({ headers: forwardedLines(`${line}, ${element}`) });
        expect([v4('9.8.7.6'), PEER_IS_CLIENT]).toContainEqual(sameLine);
        expect(ask({ headers: forwardedLines(line, element) })).toEqual(v4('9.8.7.6'));
      }),
      { numRuns: 5000 },
    );
  });
});

describe('the partition key', () => {
  it.each([
    ['two addresses of one /64', {}, '2001:db8:1:2::1', '2001:db8:1:2:ffff:ffff:ffff:ffff', '2001:db8:1:2::/64'],
    ['mapped and plain IPv4', {}, '::ffff:1.2.3.4', '1.2.3.4', '1.2.3.4'],
    ['two ports of one address', {}, '1.2.3.4:1', '1.2.3.4:2', '1.2.3.4'],
    ['two texts of one address', {}, '2001:DB8::0:1', '[2001:db8::1]:80', '2001:db8::/64'],
    ['two addresses of one /56', { ipv6Prefix: 56 }, '2001:db8:1:201::1', '2001:db8:1:2ff::1', '2001:db8:1:200::/56'],
    ['one whole address', { ipv6Prefix: 128 }, '2001:db8::1', '2001:db8::1%eth0', '2001:db8::1'],
    ['one /32', { ipv6Prefix: 32 }, '2001:db8:1::1', '2001:db8:ffff::1', '2001:db8::/32'],
  ])('is the same for %s', (_what, options, first, second, key) => {
    const ask = resolver({ ...LOOPBACK, ...options });
    expect([ask({ headers: xff(first) }).key, ask({ headers: xff(second) }).key]).toEqual([key, key]);
  });

  it.each([
    ['neighbouring /64', {}, '2001:db8:1:2::1', '2001:db8:1:3::1'],
    ['neighbouring IPv4', {}, '1.2.3.4', '1.2.3.5'],
    ['neighbouring /56', { ipv6Prefix: 56 }, '2001:db8:1:1ff::1', '2001:db8:1:200::1'],
    ['neighbours at /128', { ipv6Prefix: 128 }, '2001:db8::1', '2001:db8::2'],
    ['an IPv4 address and its compatible IPv6 form', { ipv6Prefix: 128 }, '1.2.3.4', '::1.2.3.4'],
  ])('is different for %s', (_what, options, first, second) => {
    const ask = resolver({ ...LOOPBACK, ...options });
    expect(ask({ headers: xff(first) }).key).not.toBe(ask({ headers: xff(second) }).key);
  });

  it('is also set for the address of the socket', () => {
    expect(resolve({}, { peer: '2001:db8:1:2:3::1' }).key).toBe('2001:db8:1:2::/64');
    expect(resolve({ ipv6Prefix: 48 }, { peer: '2001:db8:1:2:3::1' }).key).toBe('2001:db8:1::/48');
    expect(resolve({}, { peer: '::ffff:1.2.3.4' }).key).toBe('1.2.3.4');
  });
});

describe('options', () => {
  const refused: readonly (readonly [options: unknown, ...named: string[]])[] = [
    [{ trust: ['0.0.0.0/0'] }, 'trust', "'0.0.0.0/0'"],
    [{ trust: ['::/0'] }, 'trust', "'::/0'"],
    [{ trust: ['10/8'] }, 'trust', "'10/8'"],
    [{ trust: ['10.0/8'] }, 'trust', "'10.0/8'"],
    [{ trust: ['010.0.0.0/8'] }, 'trust', "'010.0.0.0/8'"],
    [{ trust: ['0x0a.0.0.0/8'] }, 'trust', "'0x0a.0.0.0/8'"],
    [{ trust: ['::ffff:10.0.0.0/8'] }, 'trust', "'::ffff:10.0.0.0/8'"],
    [{ trust: ['::ffff:10.0.0.0/104'] }, 'trust', "'::ffff:10.0.0.0/104'", 'mapped'],
    [{ trust: ['::ffff:a00:0/104'] }, 'trust', "'::ffff:a00:0/104'", 'mapped'],
    [{ trust: ['10.0.0.1/8'] }, 'trust', "'10.0.0.1/8'", 'bits', "did you mean '10.0.0.0/8' or '10.0.0.1'?"],
    [{ trust: ['10.0.0.128/24'] }, 'trust', "'10.0.0.128/24'", 'bits'],
    [{ trust: ['2001:db8::1/64'] }, 'trust', "'2001:db8::1/64'", 'bits', "'2001:db8::/64'"],
    [{ trust: ['fe80::1%eth0'] }, 'trust', "'fe80::1%eth0'"],
    [{ trust: ['fe80::%eth0/10'] }, 'trust', "'fe80::%eth0/10'"],
    [{ trust: ['10.0.0.0/33'] }, 'trust', "'10.0.0.0/33'"],
    [{ trust: ['2001:db8::/129'] }, 'trust', "'2001:db8::/129'"],
    [{ trust: ['10.0.0.0/'] }, 'trust', "'10.0.0.0/'"],
    [{ trust: ['10.0.0.0/-1'] }, 'trust', "'10.0.0.0/-1'"],
    [{ trust: ['10.0.0.0/0008'] }, 'trust', "'10.0.0.0/0008'"],
    [{ trust: [['10.0.0.0/8']] }, 'trust', "[ '10.0.0.0/8' ]"],
    [{ trust: ['10.0.0.0/8/8'] }, 'trust', "'10.0.0.0/8/8'"],
    [{ trust: ['10.0.0.0/255.0.0.0'] }, 'trust', "'10.0.0.0/255.0.0.0'"],
    [{ trust: ['10.0.0.0-10.0.0.9'] }, 'trust', "'10.0.0.0-10.0.0.9'"],
    [{ trust: [' 10.0.0.0/8'] }, 'trust', "' 10.0.0.0/8'"],
    [{ trust: ['10.0.0.0/8\n'] }, 'trust', "'10.0.0.0/8\\n'"],
    [{ trust: ['loopback', 'localhost'] }, 'trust', "'localhost'"],
    [{ trust: ['Loopback'] }, 'trust', "'Loopback'"],
    [{ trust: ['constructor'] }, 'trust', "'constructor'"],
    [{ trust: ['__proto__'] }, 'trust', "'__proto__'"],
    [{ trust: [''] }, 'trust', "''"],
    [{ trust: ['*'] }, 'trust', "'*'"],
    [{ trust: [true] }, 'trust', 'true'],
    [{ trust: [null] }, 'trust', 'null'],
    [{ trust: 'loopback' }, 'trust', "'loopback'"],
    [{ trust: true }, 'trust', 'true'],
    [{ trust: 1 }, 'trust', '1'],
    [{ trusts: ['loopback'] }, 'trusts'],
    [{ trustProxy: true }, 'trustProxy'],
    [{ hops: 1 }, 'hops'],
    [{ header: ['x-real-ip'] }, 'header'],
    [{ headers: [] }, 'headers', '[]'],
    [{ headers: 'x-real-ip' }, 'headers', "'x-real-ip'"],
    [{ headers: ['X-Real-IP'] }, 'headers', "'X-Real-IP'"],
    [{ headers: ['x-real-ip', 'true-client-ip'] as never }, 'headers', "'true-client-ip'"],
    [{ headers: [undefined] }, 'headers', 'undefined'],
    [{ ipv6Prefix: 31 }, 'ipv6Prefix', '31'],
    [{ ipv6Prefix: 129 }, 'ipv6Prefix', '129'],
    [{ ipv6Prefix: 64.5 }, 'ipv6Prefix', '64.5'],
    [{ ipv6Prefix: '64' }, 'ipv6Prefix', "'64'"],
    [{ ipv6Prefix: Number.NaN }, 'ipv6Prefix', 'NaN'],
    [{ trustUnixSocket: 'no' }, 'trustUnixSocket', "'no'"],
    [{ trustUnixSocket: 1 }, 'trustUnixSocket', '1'],
    [{ forwarder: 'main-server' }, 'forwarder', "'main-server'"],
    [{ forwarder: null }, 'forwarder', 'null'],
    [null, 'clientIp'],
    ['loopback', 'clientIp'],
    [['loopback'], 'clientIp'],
  ];

  it.each(refused.map(([options, ...named]) => [options, named] as const))(
    '%j are refused with a message that contains %j',
    (options, named) => {
      const error = failureOf(() => clientIp(options as ClientIpOptions));
      expect(error).toBeInstanceOf(OptionError);
      expect(error).toMatchObject({ code: 'GATEWARDEN_BAD_OPTION' });
      for (const part of ['gatewarden: clientIp', ...named]) expect(String(error)).toContain(part);
    },
  );

  it.each([
    [{}],
    [{ trust: [] }],
    [{ trust: ['loopback', 'linklocal', 'uniquelocal', '192.0.2.1', '2001:db8::1', '0.0.0.0/1', '::/1'] }],
    [{ ipv6Prefix: 32 }],
    [{ ipv6Prefix: 128 }],
    [{ headers: ['forwarded', 'x-original-ip', 'x-real-ip', 'x-forwarded-for'] }],
  ] as const)('%j are accepted', (options) => {
    expect(clientIp(options)).toBeTypeOf('function');
  });
});

function failureOf(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  throw new Error('no error was thrown');
}

// The oracle. It shares no code with the guard and does not use ipaddr.js.

const TRUSTED = new BlockList();
TRUSTED.addSubnet('127.0.0.0', 8, 'ipv4');
TRUSTED.addAddress('::1', 'ipv6');
TRUSTED.addSubnet('10.0.0.0', 8, 'ipv4');
TRUSTED.addSubnet('2001:db8:aaaa::', 48, 'ipv6');
const ORACLE_OPTIONS: ClientIpOptions = { trust: ['loopback', '10.0.0.0/8', '2001:db8:aaaa::/48'] };

function isTrusted(ip: string): boolean {
  return TRUSTED.check(ip, isIP(ip) === 4 ? 'ipv4' : 'ipv6');
}

/** The canonical text of an entry, by `net.isIP` and the URL standard. Undefined if it is not an address. */
function canonical(entry: string): string | undefined {
  const port = /^(?:\[[^\]]*\]|[^:[]*):(\d{1,5})$/.exec(entry)?.[1];
  if (port !== undefined && Number(port) > 65_535) return undefined;
  const bare = entry.replace(/^\[([^\]]*:[^\]]*)\](:\d{1,5})?$/, '$1').replace(/^([^:[]*):\d{1,5}$/, '$1');
  const host = isIP(bare) === 6 ? bare.replace(/%.*$/s, '') : bare;
  if (entry.length > 80 || isIP(host) === 0) return undefined;
  const text = isIP(host) === 4 ? host : new URL(`http://[${host}]`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]+):([0-9a-f]+)$/.exec(text);
  const halves = mapped === null ? [] : mapped.slice(1).map((half) => Number.parseInt(half, 16));
  const folded = mapped === null ? text : halves.flatMap((half) => [half >> 8, half & 0xff]).join('.');
  return folded === '::' || folded === '0.0.0.0' ? undefined : folded;
}

/** The peer, then every entry from the right. Undefined for an entry that is not an address. */
function chainOf(peer: string, lines: readonly string[]): (string | undefined)[] {
  const entries = lines.flatMap((line) => line.split(',')).map((entry) => entry.replace(/^[ \t]+|[ \t]+$/g, ''));
  return [peer, ...entries.filter((entry) => entry !== '').reverse()].map(canonical);
}

function expectedIp(peer: string, lines: readonly string[]): string | undefined {
  const chain = chainOf(peer, lines);
  return chain.find((ip, i) => ip !== undefined && (!isTrusted(ip) || chain[i + 1] === undefined || i === 32));
}

const latin1 = fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code));
const proxy = fc.constantFrom(
  '127.0.0.1',
  '::1',
  '[::1]:80',
  '10.1.2.3',
  '10.1.2.3:8080',
  '::ffff:10.0.0.1',
  '::FFFF:7f00:1',
  '2001:db8:aaaa::5',
);
const untrusted = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.ipV6().map((ip) => `[${ip}]:443`),
  fc.ipV4().map((ip) => `${ip}:443`),
  fc.tuple(fc.ipV4(), fc.integer({ min: 65_000, max: 66_000 })).map(([ip, port]) => `${ip}:${port}`),
  fc.tuple(fc.ipV6(), fc.integer({ min: 65_000, max: 66_000 })).map(([ip, port]) => `[${ip}]:${port}`),
  fc.ipV4().map((ip) => `::ffff:${ip}`),
  fc.ipV4Extended(),
);
const noise = fc.oneof(
  fc.constantFrom('', ' ', 'unknown', '_hidden', '<script>', '::', '0.0.0.0', '127.1', '\u00a0127.0.0.1', '[10.0.0.1]'),
  fc.string({ unit: latin1, maxLength: 12 }),
);
const entry = fc.oneof(
  { weight: 5, arbitrary: proxy },
  { weight: 2, arbitrary: untrusted },
  { weight: 1, arbitrary: noise },
);
const separator = fc.constantFrom(',', ', ', ' ,\t', ',,');
const line = fc.tuple(fc.array(entry, { maxLength: 50 }), separator).map(([entries, between]) => entries.join(between));
const anyHeader = fc.oneof(fc.array(line, { maxLength: 4 }), fc.array(fc.string({ unit: latin1 }), { maxLength: 4 }));

describe('for any header', () => {
  const ask = resolver(ORACLE_OPTIONS);

  it('an untrusted peer is the client', () => {
    const peer = fc.oneof(fc.ipV4(), fc.ipV6()).filter((ip) => {
      const text = canonical(ip);
      return text !== undefined && !isTrusted(text);
    });
    fc.assert(
      fc.property(peer, anyHeader, (remote, lines) => {
        const client = ask({ peer: remote, headers: xff(...lines) });
        expect(client).toMatchObject({ ip: canonical(remote), source: 'socket', reason: 'direct' });
      }),
      { numRuns: 1000 },
    );
  });

  it('the client is the peer or an entry of the header, in canonical form', () => {
    fc.assert(
      fc.property(
        proxy.filter((ip) => isIP(ip) !== 0),
        anyHeader,
        (peer, lines) => {
          const { ip = '', source } = ask({ peer, headers: xff(...lines) });
          const chain = chainOf(peer, lines);
          expect(isIP(ip)).not.toBe(0);
          expect(source === 'socket' ? [chain[0]] : chain.slice(1)).toContain(ip);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('no entry left of an untrusted or malformed one is believed, and none after the 32nd', () => {
    const reached = new Map<ClientIpReason, number>();
    fc.assert(
      fc.property(anyHeader, (lines) => {
        const client = ask({ headers: xff(...lines) });
        expect(client.ip).toBe(expectedIp('127.0.0.1', lines));
        reached.set(client.reason, (reached.get(client.reason) ?? 0) + 1);
      }),
      { numRuns: 3000 },
    );
    // Proves that the generated headers reach every outcome.
    for (const reason of ['untrusted', 'malformed', 'all-trusted'] as const)
      expect(reached.get(reason)).toBeGreaterThan(20);
  });

  it('a forwarder gains one hop and no more', () => {
    const forwarding = resolver({ ...ORACLE_OPTIONS, forwarder: () => true });
    const principal: Principal = { id: 'main', scheme: 'test', scopes: [], credentialId: 'c' };
    fc.assert(
      fc.property(anyHeader, (lines) => {
        const chain = chainOf('127.0.0.1', lines);
        const first = chain.findIndex((ip, i) => ip === undefined || !isTrusted(ip) || i === 32);
        const beyond = first !== -1 && first < 32 && chain[first] !== undefined ? chain[first + 1] : undefined;
        const { ip } = forwarding({ headers: xff(...lines), principal });
        expect(ip).toBe(beyond ?? expectedIp('127.0.0.1', lines));
      }),
      { numRuns: 3000 },
    );
  });

  it.each(['x-forwarded-for', 'x-real-ip', 'x-original-ip', 'forwarded'] as const)(
    'reading %s never throws',
    (name) => {
      const open = resolver({ ...ORACLE_OPTIONS, headers: [name] });
      fc.assert(
        fc.property(fc.array(fc.string({ unit: latin1, maxLength: 300 }), { maxLength: 5 }), (lines) => {
          const { ip = '' } = open({ headers: lines.map((text) => [name, text]) });
          expect(isIP(ip)).not.toBe(0);
        }),
        { numRuns: 1000 },
      );
    },
  );

  it('the result for one text does not affect a text that begins or ends alike', () => {
    const remembering = resolver(ORACLE_OPTIONS);
    for (const whole of ['10.20.30.255', '1.2.3.45:8080', '2001:db8:aaaa:1:2:3:4:5555', '[2001:db8:aaaa::5]:80']) {
      const parts = Array.from(whole, (_, i) => [whole.slice(0, i + 1), whole.slice(i)]).flat();
      for (const text of [whole, ...parts, ...parts.reverse()]) {
        expect([text, remembering({ headers: xff(text) }).ip]).toEqual([text, expectedIp('127.0.0.1', [text])]);
      }
    }
  });

  it('the result for a text is the same after thousands of other addresses', () => {
    const remembering = resolver(ORACLE_OPTIONS);
    const lines = [...fc.sample(line, { numRuns: 300, seed: 7 }), '6.6.6.6, 1.2.3.4', 'x, 10.0.0.1', '::ffff:1.2.3.4'];
    const askAll = () => lines.map((text) => remembering({ headers: xff(text) }));
    const first = askAll();
    expect(askAll()).toEqual(first);
    for (let i = 0; i < 6000; i++) {
      const ip = `1.${i >> 8}.${i & 0xff}.9`;
      expect(remembering({ headers: xff(ip) }).ip).toBe(ip);
    }
    expect(askAll()).toEqual(first);
    expect(first.map(({ ip }) => ip)).toEqual(lines.map((text) => expectedIp('127.0.0.1', [text])));
  });
});
