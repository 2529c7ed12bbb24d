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
    ['believes its edge', { preset: 'cloudflare' }, EDGE, [connecting('192.0.2.1')], '192.0.2.1', 'untrusted'],
    [
      'believes its edge over IPv6',
      { preset: 'cloudflare' },
      '2606:4700::1',
      [connecting('2001:db8::1')],
      '2001:db8::1',
      'untrusted',
    ],
    [
      'does not believe a stranger',
      { preset: 'cloudflare' },
      '192.0.2.66',
      [connecting('192.0.2.1')],
      '192.0.2.66',
      'direct',
    ],
    [
      'does not believe this machine at the edge',
      { preset: 'cloudflare' },
      '127.0.0.1',
      [connecting('192.0.2.1')],
      '127.0.0.1',
      'direct',
    ],
    [
      'believes a tunnel on this machine',
      { preset: 'cloudflared' },
      '127.0.0.1',
      [connecting('192.0.2.1')],
      '192.0.2.1',
      'untrusted',
    ],
    [
      'does not believe the edge where a tunnel is',
      { preset: 'cloudflared' },
      EDGE,
      [connecting('192.0.2.1')],
      EDGE,
      'direct',
    ],
    [
      'believes a named tunnel',
      { preset: 'cloudflared', trust: ['10.0.0.5'] },
      '10.0.0.5',
      [connecting('192.0.2.1')],
      '192.0.2.1',
      'untrusted',
    ],
    [
      'does not believe this machine where another is named',
      { preset: 'cloudflared', trust: ['10.0.0.5'] },
      '127.0.0.1',
      [connecting('192.0.2.1')],
      '127.0.0.1',
      'direct',
    ],
    [
      'takes a newer list of ranges',
      { preset: 'cloudflare', trust: ['198.51.100.0/24'] },
      '198.51.100.9',
      [connecting('192.0.2.1')],
      '192.0.2.1',
      'untrusted',
    ],
    ['stays at the edge where the header is missing', { preset: 'cloudflare' }, EDGE, [], EDGE, 'direct'],
    [
      'stays at the edge where it comes twice',
      { preset: 'cloudflare' },
      EDGE,
      [connecting('192.0.2.1'), connecting('192.0.2.1')],
      EDGE,
      'malformed',
    ],
    [
      'stays at the edge where it is a list',
      { preset: 'cloudflare' },
      EDGE,
      [connecting('192.0.2.1, 192.0.2.2')],
      EDGE,
      'malformed',
    ],
    ['stays at the edge where it is blank', { preset: 'cloudflare' }, EDGE, [connecting('')], EDGE, 'malformed'],
    [
      'stays at the edge where it is no address',
      { preset: 'cloudflare' },
      EDGE,
      [connecting('localhost')],
      EDGE,
      'malformed',
    ],
    [
      'does not look at X-Forwarded-For',
      { preset: 'cloudflare' },
      EDGE,
      [['X-Forwarded-For', '192.0.2.1']],
      EDGE,
      'direct',
    ],
    [
      'does not look at True-Client-IP',
      { preset: 'cloudflare' },
      EDGE,
      [['True-Client-IP', '192.0.2.1']],
      EDGE,
      'direct',
    ],
    [
      'does not look at it unasked',
      { trust: ['loopback'] },
      '127.0.0.1',
      [connecting('192.0.2.1')],
      '127.0.0.1',
      'direct',
    ],
  ])('%s', async (_promise, options, peer, headers, ip, reason) => {
    const { clientIp: found } = await resolve(options, peer, ...headers);
    expect([found?.ip, found?.reason]).toEqual([ip, reason]);
  });

  it('trusts its ranges among others by their name', async () => {
    const options: ClientIpOptions = { trust: ['loopback', 'cloudflare'] };
    const { clientIp: found } = await resolve(options, '127.0.0.1', ['X-Forwarded-For', `192.0.2.1, ${EDGE}`]);
    expect(found?.ip).toBe('192.0.2.1');
  });

  it.each([
    ['its zone', [['CF-Worker', 'shop.example']], 'cloudflare-worker:shop.example'],
    ['its zone in any case', [['CF-Worker', 'Shop.Example']], 'cloudflare-worker:shop.example'],
    ['one for all where it names none', [], 'cloudflare-worker'],
    [
      'one for all where it names two',
      [
        ['CF-Worker', 'a.example'],
        ['CF-Worker', 'b.example'],
      ],
      'cloudflare-worker',
    ],
    ['one for all where it names nonsense', [['CF-Worker', 'a b']], 'cloudflare-worker'],
    ['one for all where it names a zone after more', [['CF-Worker', '/shop.example']], 'cloudflare-worker'],
    ['one for all where it names a zone before more', [['CF-Worker', 'shop.example/a']], 'cloudflare-worker'],
    ['one for all where it names no zone', [['CF-Worker', 'shop']], 'cloudflare-worker'],
  ] as readonly (readonly [string, readonly HeaderLine[], string])[])(
    'counts a Worker, whose address is that of all Workers, by %s',
    async (_what, headers, key) => {
      const { clientIp: found } = await resolve(
        { preset: 'cloudflare' },
        EDGE,
        connecting('2a06:98c0:3600::103'),
        ...headers,
      );
      expect([found?.ip, found?.key]).toEqual(['2a06:98c0:3600::103', key]);
    },
  );

  it('counts everybody else by the address, whatever zone is named', async () => {
    const { clientIp: found } = await resolve({ preset: 'cloudflare' }, EDGE, connecting('192.0.2.1'), [
      'CF-Worker',
      'a.example',
    ]);
    expect([found?.ip, found?.key]).toEqual(['192.0.2.1', '192.0.2.1']);
  });

  it.each([
    ['172.63.255.255', '172.64.0.0', '172.71.255.255', '172.72.0.0'],
    ['162.157.255.255', '162.158.0.0', '162.159.255.255', '162.160.0.0'],
    ['131.0.71.255', '131.0.72.0', '131.0.75.255', '131.0.76.0'],
    ['104.15.255.255', '104.16.0.0', '104.27.255.255', '104.28.0.0'],
    ['190.93.239.255', '190.93.240.0', '190.93.255.255', '190.94.0.0'],
    ['2a06:98bf::1', '2a06:98c0::1', '2a06:98c7::1', '2a06:98c8::1'],
  ])('does not believe %s, but %s to %s, and no more %s', async (before, first, last, after) => {
    const believed: boolean[] = [];
    for (const peer of [before, first, last, after])
      believed.push((await resolve({ preset: 'cloudflare' }, peer)).peerIsTrusted);
    expect(believed).toEqual([false, true, true, false]);
  });

  it('does not count a stranger as a Worker', async () => {
    const { clientIp: found } = await resolve(
      { preset: 'cloudflare' },
      '192.0.2.66',
      connecting('2a06:98c0:3600::103'),
      ['CF-Worker', 'a.example'],
    );
    expect(found?.key).toBe('192.0.2.66');
  });

  it.each<[string, ClientIpOptions, string, readonly HeaderLine[]]>([
    ['from another proxy', { trust: ['loopback'] }, '127.0.0.1', [['X-Forwarded-For', '2a06:98c0:3600::103']]],
    ['from the socket', {}, '2a06:98c0:3600::103', []],
  ])('does not count by its zone whoever has the address of Workers %s', async (_where, options, peer, headers) => {
    const { clientIp: found } = await resolve(options, peer, ...headers, ['CF-Worker', 'a.example']);
    expect([found?.ip, found?.key]).toEqual(['2a06:98c0:3600::103', '2a06:98c0:3600::/64']);
  });

  it.each([
    ['172.64.1.1', true],
    ['192.0.2.66', false],
  ])('tells whether the peer %s is trusted', async (peer, trusted) => {
    expect((await resolve({ preset: 'cloudflare' }, peer)).peerIsTrusted).toBe(trusted);
  });

  it('cannot be made with another preset', () => {
    expect(() => clientIp({ preset: 'akamai' } as unknown as ClientIpOptions)).toThrow(OptionError);
  });
});

describe('a forwarding header from a peer that is not trusted', () => {
  it.each<[string, ClientIpOptions, HeaderLine]>([
    ['X-Forwarded-For', {}, ['X-Forwarded-For', '192.0.2.1']],
    ['CF-Connecting-IP', { preset: 'cloudflare' }, connecting('192.0.2.1')],
  ])('is warned of once: %s', async (_name, options, header) => {
    const guard = clientIp(options);
    for (let i = 0; i < 3; i++) await ask(guard, { remoteAddress: '192.0.2.66', headers: [header] });
    expect(warned).toHaveBeenCalledExactlyOnceWith(expect.stringContaining('"trust"'), {
      code: 'GATEWARDEN_UNTRUSTED_FORWARDING',
    });
  });

  it('is not warned of where it does not matter, or there is none', async () => {
    await ask(clientIp(), { remoteAddress: '192.0.2.66', headers: [['X-Real-IP', '192.0.2.1']] });
    await ask(clientIp({ trust: ['loopback'] }), { headers: [['X-Forwarded-For', '192.0.2.1']] });
    expect(warned).not.toHaveBeenCalled();
  });
});
