import { describe, expect, it } from 'vitest';
import { clientIp } from '../../src/client-ip/client-ip.js';
import { OptionError } from '../../src/core/option.js';
import { sequence } from '../../src/core/sequence.js';
import { type TrustedHostsOptions, trustedHosts } from '../../src/edge/trusted-hosts.js';
import { ask, type HeaderLine } from '../exchange-fixture.js';
import { HOST_CASES, SERVED_HOSTS } from './host-cases.js';

const host = (value: string): HeaderLine => ['Host', value];
const status = async (guard: ReturnType<typeof trustedHosts>, options: Parameters<typeof ask>[1]) => {
  const answer = await ask(guard, options);
  expect(answer.faults).toEqual([]);
  return answer.passed ? 200 : answer.status;
};

describe('trustedHosts', () => {
  it.each(HOST_CASES.map((row) => [row.promise, row] as const))('%s', async (_promise, { hosts, target, served }) => {
    const guard = trustedHosts({ hosts: SERVED_HOSTS });
    const headers = hosts.map(host);
    expect(await status(guard, { headers, url: target ?? '/' })).toBe(served ? 200 : 400);
  });

  it('does not reveal which hosts are served', async () => {
    const answer = await ask(trustedHosts({ hosts: ['secret.internal'] }), { headers: [host('evil.test')] });
    expect(JSON.parse(answer.body)).toEqual({
      title: 'Bad Request',
      status: 400,
      detail: 'This service does not serve the requested host.',
      code: 'host-untrusted',
    });
  });

  it.each([
    ['example.com:443', true, 200],
    ['example.com:443', false, 200],
    ['example.com:80', true, 400],
    ['example.com', true, 200],
    ['example.com', false, 400],
  ])('applies the default port of the connection: %s with TLS %s results in %d', async (name, encrypted, expected) => {
    const guard = trustedHosts({ hosts: ['example.com:443'] });
    expect(await status(guard, { headers: [host(name)], encrypted })).toBe(expected);
  });

  it.each([
    ['the longest name, with a dot and a port', `${'a.'.repeat(121)}example.com.:65535`],
    ['the longest way to write an IPv6 address', '[0000:0000:0000:0000:0000:ffff:192.168.100.200]'],
  ])('serves %s', async (_what, name) => {
    const guard = trustedHosts({ hosts: ['*.example.com', '[::ffff:192.168.100.200]'] });
    expect(await status(guard, { headers: [host(name)] })).toBe(200);
  });

  it('does not read the query of a target as part of its host', async () => {
    const guard = trustedHosts({ hosts: ['example.com'] });
    expect(await status(guard, { headers: [host('example.com')], url: 'http://example.com?a' })).toBe(200);
  });

  it('refuses white space and non-ASCII look-alikes in a host', async () => {
    const guard = trustedHosts({ hosts: ['example.com', 'localhost'] });
    for (const name of [
      'example.com\n',
      'example.com\r\n',
      '\nexample.com',
      ' example.com',
      'example.com ',
      'example.com\t',
    ]) {
      expect([name, await status(guard, { headers: [host(name)] })]).toEqual([name, 400]);
    }
    // The ideographic full stop, a full-width letter, a Cyrillic one.
    for (const name of ['example\u3002com', '\uff45xample.com', 'loc\u0430lhost']) {
      expect([name, await status(guard, { headers: [host(name)] })]).toEqual([name, 400]);
    }
  });

  it('accepts a wildcard before a name that begins with a digit', async () => {
    const guard = trustedHosts({ hosts: ['*.1and1.example', '*.4.example'] });
    expect(await status(guard, { headers: [host('www.1and1.example')] })).toBe(200);
    expect(await status(guard, { headers: [host('a.4.example')] })).toBe(200);
    expect(await status(guard, { headers: [host('1and1.example')] })).toBe(400);
  });

  it('protects a service on loopback from foreign names that resolve to it', async () => {
    const guard = trustedHosts({ hosts: ['localhost', '127.0.0.1', '[::1]'] });
    for (const name of ['localhost:8000', '127.0.0.1:8000', '[::1]:8000', 'LOCALHOST'])
      expect(await status(guard, { headers: [host(name)] })).toBe(200);
    for (const name of [
      'rebound.evil.test:8000',
      'localhost.evil.test',
      '127.0.0.1.nip.io',
      'app.localhost',
      '0.0.0.0:8000',
    ])
      expect(await status(guard, { headers: [host(name)] })).toBe(400);
  });

  it('reads the host of an HTTP/2 request from :authority', async () => {
    const guard = trustedHosts({ hosts: ['example.com'] });
    expect(await status(guard, { headers: [[':authority', 'example.com']] })).toBe(200);
    expect(await status(guard, { headers: [[':authority', 'evil.test']] })).toBe(400);
    expect(await status(guard, { headers: [[':authority', 'example.com'], host('evil.test')] })).toBe(400);
  });

  describe('behind a proxy', () => {
    const hosts = ['example.com', 'internal', 'ported.test:8443', 'plain.test:80'];
    const behind = (forwardedHost: boolean | undefined) =>
      sequence(
        clientIp({ trust: ['10.0.0.1'] }),
        trustedHosts(forwardedHost === undefined ? { hosts } : { hosts, forwardedHost }),
      );
    const forwarded = (value: string): HeaderLine => ['X-Forwarded-Host', value];
    it.each<[string, boolean | undefined, string, readonly HeaderLine[], number]>([
      [
        'believes X-Forwarded-Host of a trusted proxy',
        true,
        '10.0.0.1',
        [host('internal'), forwarded('example.com')],
        200,
      ],
      [
        'refuses a foreign X-Forwarded-Host of a trusted proxy',
        true,
        '10.0.0.1',
        [host('internal'), forwarded('evil.test')],
        400,
      ],
      ['uses Host if there is no X-Forwarded-Host', true, '10.0.0.1', [host('internal')], 200],
      [
        'refuses a list in X-Forwarded-Host',
        true,
        '10.0.0.1',
        [host('internal'), forwarded('example.com, evil.test')],
        400,
      ],
      [
        'refuses two X-Forwarded-Host lines',
        true,
        '10.0.0.1',
        [host('internal'), forwarded('example.com'), forwarded('example.com')],
        400,
      ],
      [
        'refuses a malformed Host although X-Forwarded-Host is served',
        true,
        '10.0.0.1',
        [host('a@b'), forwarded('example.com')],
        400,
      ],
      [
        'does not believe X-Forwarded-Host of an untrusted peer',
        true,
        '10.0.0.2',
        [host('evil.test'), forwarded('example.com')],
        400,
      ],
      [
        'ignores a foreign X-Forwarded-Host of an untrusted peer',
        true,
        '10.0.0.2',
        [host('example.com'), forwarded('evil.test')],
        200,
      ],
      ['uses the port in X-Forwarded-Host', true, '10.0.0.1', [host('internal'), forwarded('ported.test:8443')], 200],
      [
        'refuses X-Forwarded-Host without the port that is required',
        true,
        '10.0.0.1',
        [host('internal'), forwarded('ported.test')],
        400,
      ],
      [
        'applies no default port to X-Forwarded-Host',
        true,
        '10.0.0.1',
        [host('internal'), forwarded('plain.test')],
        400,
      ],
      [
        'ignores X-Forwarded-Host by default',
        undefined,
        '10.0.0.1',
        [host('evil.test'), forwarded('example.com')],
        400,
      ],
      [
        'ignores X-Forwarded-Host if forwardedHost is false',
        false,
        '10.0.0.1',
        [host('evil.test'), forwarded('example.com')],
        400,
      ],
    ])('%s', async (_promise, forwardedHost, remoteAddress, headers, expected) => {
      expect(await status(behind(forwardedHost), { headers, remoteAddress })).toBe(expected);
    });
  });

  it.each<[string, object]>([
    ['no hosts', {}],
    ['an empty list', { hosts: [] }],
    ['a string', { hosts: 'example.com' }],
    ['a star alone', { hosts: ['*'] }],
    ['a URL', { hosts: ['https://example.com'] }],
    ['a path', { hosts: ['example.com/'] }],
    ['a star inside', { hosts: ['a.*.com'] }],
    ['a star before an address', { hosts: ['*.127.0.0.1'] }],
    ['a star before an IPv6 address', { hosts: ['*.[::1]'] }],
    ['an address as one number', { hosts: ['2130706433'] }],
    ['an address in hexadecimal', { hosts: ['0x7f.1'] }],
    ['an address as one hexadecimal number', { hosts: ['0x7f000001'] }],
    ['an address that ends in 0x', { hosts: ['127.0.0.0x'] }],
    ['a short address', { hosts: ['127.1'] }],
    ['an address in octal', { hosts: ['0177.0.0.1'] }],
    ['user info', { hosts: ['a@example.com'] }],
    ['Unicode', { hosts: ['ex\u00e4mple.com'] }],
    ['two hosts in one string', { hosts: ['a.com,b.com'] }],
    ['a list after a valid host', { hosts: ['example.com', ['localhost']] }],
    ['a bare IPv6 address', { hosts: ['::1'] }],
    ['an address with a zone', { hosts: ['[fe80::1%0]'] }],
    ['port 0', { hosts: ['example.com:0'] }],
    ['an empty string', { hosts: [''] }],
    ['a number', { hosts: [5] }],
    ['a misspelt option', { hosts: ['example.com'], trust: true }],
    ['forwardedHost that is not a boolean', { hosts: ['example.com'], forwardedHost: 'yes' }],
  ])('refuses at construction: %s', (_what, options) => {
    expect(() => trustedHosts(options as TrustedHostsOptions)).toThrow(OptionError);
  });
});
