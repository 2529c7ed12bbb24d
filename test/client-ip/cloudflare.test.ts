import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type ClientIpOptions, clientIp } from '../../src/client-ip/client-ip.js';
import { OptionError } from '../../src/core/option.js';
import { ask, type HeaderLine } from '../exchange-fixture.js';

const EDGE = '172.64.1.1';
const connecting = (value: string): HeaderLine => ['CF-Connecting-IP', value];
const resolve = async (options: ClientIpOptions, remoteAddress: string, ...headers: HeaderLine[]) =>
  (await ask(clientIp(options), { remoteAddress, headers })).exchange;

const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
beforeEach(() => warned.mockClear());
afterEach(() => warned.mockClear());

describe('clientIp behind Cloudflare', () => {
  it.each<[string, ClientIpOptions, string, readonly HeaderLine[], string | undefined, string]>([
    ['believes the edge', { preset: 'cloudflare' }, EDGE, [connecting('192.0.2.1')], '192.0.2.1', 'untrusted'],
    [
      'believes the edge over IPv6',
      { preset: 'cloudflare' },
      '2606:4700::1',
      [connecting('2001:db8::1')],
      '2001:db8::1',
      'untrusted',
    ],
    [
      'does not believe a foreign peer',
      { preset: 'cloudflare' },
      '192.0.2.66',
      [connecting('192.0.2.1')],
      '192.0.2.66',
      'direct',
    ],
    [
      'does not believe loopback with the preset cloudflare',
      { preset: 'cloudflare' },
      '127.0.0.1',
      [connecting('192.0.2.1')],
      '127.0.0.1',
      'direct',
    ],
    [
      'believes a tunnel on loopback',
      { preset: 'cloudflared' },
      '127.0.0.1',
      [connecting('192.0.2.1')],
      '192.0.2.1',
      'untrusted',
    ],
    [
      'does not believe the edge with the preset cloudflared',
      { preset: 'cloudflared' },
      EDGE,
      [connecting('192.0.2.1')],
      EDGE,
      'direct',
    ],
    [
      'believes a tunnel at an address in trust',
      { preset: 'cloudflared', trust: ['10.0.0.5'] },
      '10.0.0.5',
      [connecting('192.0.2.1')],
      '192.0.2.1',
      'untrusted',
    ],
    [
      'does not believe loopback if trust names another address',
      { preset: 'cloudflared', trust: ['10.0.0.5'] },
      '127.0.0.1',
      [connecting('192.0.2.1')],
      '127.0.0.1',
      'direct',
    ],
    [
      'accepts another list of ranges in trust',
      { preset: 'cloudflare', trust: ['198.51.100.0/24'] },
      '198.51.100.9',
      [connecting('192.0.2.1')],
      '192.0.2.1',
      'untrusted',
    ],
    ['uses the edge if the header is missing', { preset: 'cloudflare' }, EDGE, [], EDGE, 'direct'],
    [
      'uses the edge if the header appears twice',
      { preset: 'cloudflare' },
      EDGE,
      [connecting('192.0.2.1'), connecting('192.0.2.1')],
      EDGE,
      'malformed',
    ],
    [
      'uses the edge if the header is a list',
      { preset: 'cloudflare' },
      EDGE,
      [connecting('192.0.2.1, 192.0.2.2')],
      EDGE,
      'malformed',
    ],
    ['uses the edge if the header is blank', { preset: 'cloudflare' }, EDGE, [connecting('')], EDGE, 'malformed'],
    [
      'uses the edge if the header is not an address',
      { preset: 'cloudflare' },
      EDGE,
      [connecting('localhost')],
      EDGE,
      'malformed',
    ],
    ['ignores X-Forwarded-For', { preset: 'cloudflare' }, EDGE, [['X-Forwarded-For', '192.0.2.1']], EDGE, 'direct'],
    ['ignores True-Client-IP', { preset: 'cloudflare' }, EDGE, [['True-Client-IP', '192.0.2.1']], EDGE, 'direct'],
    [
      'ignores CF-Connecting-IP without a preset',
      { trust: ['loopback'] },
      '127.0.0.1',
      [connecting('192.0.2.1')],
      '127.0.0.1',
      'direct',
    ],
  ])('%s', async (_promise, options, peer, headers, ip, reason) => {
    const { clientIp: client } = await resolve(options, peer, ...headers);
    expect([client?.ip, client?.reason]).toEqual([ip, reason]);
  });

  it('trusts the ranges of Cloudflare by name, next to others', async () => {
    const options: ClientIpOptions = { trust: ['loopback', 'cloudflare'] };
    const { clientIp: client } = await resolve(options, '127.0.0.1', ['X-Forwarded-For', `192.0.2.1, ${EDGE}`]);
    expect(client?.ip).toBe('192.0.2.1');
  });

  it.each([
    ['its zone if CF-Worker names one', [['CF-Worker', 'shop.example']], 'cloudflare-worker:shop.example'],
    [
      'its zone in lower case if CF-Worker names one in another case',
      [['CF-Worker', 'Shop.Example']],
      'cloudflare-worker:shop.example',
    ],
    ['a common key if there is no CF-Worker', [], 'cloudflare-worker'],
    [
      'a common key if there are two CF-Worker lines',
      [
        ['CF-Worker', 'a.example'],
        ['CF-Worker', 'b.example'],
      ],
      'cloudflare-worker',
    ],
    ['a common key if CF-Worker is not a zone', [['CF-Worker', 'a b']], 'cloudflare-worker'],
    ['a common key if CF-Worker has text before the zone', [['CF-Worker', '/shop.example']], 'cloudflare-worker'],
    ['a common key if CF-Worker has text after the zone', [['CF-Worker', 'shop.example/a']], 'cloudflare-worker'],
    ['a common key if CF-Worker has one label only', [['CF-Worker', 'shop']], 'cloudflare-worker'],
  ] as readonly (readonly [string, readonly HeaderLine[], string])[])(
    'counts a Worker by %s',
    async (_what, headers, key) => {
      const { clientIp: client } = await resolve(
        { preset: 'cloudflare' },
        EDGE,
        connecting('2a06:98c0:3600::103'),
        ...headers,
      );
      expect([client?.ip, client?.key]).toEqual(['2a06:98c0:3600::103', key]);
    },
  );

  it('counts any other client by its address, whatever CF-Worker names', async () => {
    const { clientIp: client } = await resolve({ preset: 'cloudflare' }, EDGE, connecting('192.0.2.1'), [
      'CF-Worker',
      'a.example',
    ]);
    expect([client?.ip, client?.key]).toEqual(['192.0.2.1', '192.0.2.1']);
  });

  it.each([
    ['172.63.255.255', '172.64.0.0', '172.71.255.255', '172.72.0.0'],
    ['162.157.255.255', '162.158.0.0', '162.159.255.255', '162.160.0.0'],
    ['131.0.71.255', '131.0.72.0', '131.0.75.255', '131.0.76.0'],
    ['104.15.255.255', '104.16.0.0', '104.27.255.255', '104.28.0.0'],
    ['190.93.239.255', '190.93.240.0', '190.93.255.255', '190.94.0.0'],
    ['2a06:98bf::1', '2a06:98c0::1', '2a06:98c7::1', '2a06:98c8::1'],
  ])('does not trust %s, trusts %s to %s, and does not trust %s', async (before, first, last, after) => {
    const believed: boolean[] = [];
    for (const peer of [before, first, last, after])
      believed.push((await resolve({ preset: 'cloudflare' }, peer)).peerIsTrusted);
    expect(believed).toEqual([false, true, true, false]);
  });

  it('does not count an untrusted peer as a Worker', async () => {
    const { clientIp: client } = await resolve(
      { preset: 'cloudflare' },
      '192.0.2.66',
      connecting('2a06:98c0:3600::103'),
      ['CF-Worker', 'a.example'],
    );
    expect(client?.key).toBe('192.0.2.66');
  });

  it.each<[string, ClientIpOptions, string, readonly HeaderLine[]]>([
    ['from another proxy', { trust: ['loopback'] }, '127.0.0.1', [['X-Forwarded-For', '2a06:98c0:3600::103']]],
    ['from the socket', {}, '2a06:98c0:3600::103', []],
  ])(
    'does not count a client by its zone if the address of Workers comes %s',
    async (_where, options, peer, headers) => {
      const { clientIp: client } = await resolve(options, peer, ...headers, ['CF-Worker', 'a.example']);
      expect([client?.ip, client?.key]).toEqual(['2a06:98c0:3600::103', '2a06:98c0:3600::/64']);
    },
  );

  it.each([
    ['172.64.1.1', true],
    ['192.0.2.66', false],
  ])('sets peerIsTrusted for the peer %s to %s', async (peer, trusted) => {
    expect((await resolve({ preset: 'cloudflare' }, peer)).peerIsTrusted).toBe(trusted);
  });

  it('refuses an unknown preset', () => {
    expect(() => clientIp({ preset: 'akamai' } as unknown as ClientIpOptions)).toThrow(OptionError);
  });
});

describe('a forwarding header from a peer that is not trusted', () => {
  it.each<[string, ClientIpOptions, HeaderLine]>([
    ['x-forwarded-for', {}, ['X-Forwarded-For', '192.0.2.1']],
    ['cf-connecting-ip', { preset: 'cloudflare' }, connecting('192.0.2.1')],
  ])('causes one warning that names the remedy: %s', async (name, options, header) => {
    const guard = clientIp(options);
    for (let i = 0; i < 3; i++) await ask(guard, { remoteAddress: '192.0.2.66', headers: [header] });
    expect(warned).toHaveBeenCalledExactlyOnceWith(
      `clientIp ignored the header ${name} from 192.0.2.66, which is not a trusted proxy. ` +
        "If it is your own proxy, trust it: clientIp({ trust: ['192.0.2.66'] })",
      { code: 'GATEWARDEN_UNTRUSTED_FORWARDING' },
    );
  });

  it('causes a warning with the address as trust accepts it, for an IPv4-mapped peer', async () => {
    await ask(clientIp(), { remoteAddress: '::ffff:10.0.0.7', headers: [['X-Forwarded-For', '192.0.2.1']] });
    expect(warned).toHaveBeenCalledExactlyOnceWith(
      expect.stringContaining("clientIp({ trust: ['10.0.0.7'] })"),
      expect.anything(),
    );
  });

  it('causes a warning that names trustUnixSocket, for a peer on a Unix socket', async () => {
    await ask(clientIp(), { remoteAddress: undefined, headers: [['X-Forwarded-For', '192.0.2.1']] });
    expect(warned).toHaveBeenCalledExactlyOnceWith(
      expect.stringContaining('clientIp({ trustUnixSocket: true })'),
      expect.anything(),
    );
  });

  it('causes no warning if the guard does not read it, or if the peer is trusted', async () => {
    await ask(clientIp(), { remoteAddress: '192.0.2.66', headers: [['X-Real-IP', '192.0.2.1']] });
    await ask(clientIp({ trust: ['loopback'] }), { headers: [['X-Forwarded-For', '192.0.2.1']] });
    expect(warned).not.toHaveBeenCalled();
  });
});
