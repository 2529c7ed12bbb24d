import { describe, expect, it, vi } from 'vitest';
import { type ClientIpOptions, clientIp } from '../../src/client-ip/client-ip.js';
import { OptionError } from '../../src/core/option.js';
import type { Principal } from '../../src/core/principal.js';
import { ask, type HeaderLine } from '../exchange-fixture.js';
import { forwardedLines, xff } from './forwarding-cases.js';

const PROXY = '127.0.0.1';
const REQUIRED: ClientIpOptions = { trust: ['loopback'], requireHeader: true };
const main: Principal = { id: 'main', scheme: 'test', scopes: [], credentialId: 'c' };

interface Sent {
  /** Null means that the socket has no address. */
  readonly peer: string | null;
  readonly headers: readonly HeaderLine[];
  readonly principal?: Principal;
}

const send = (options: ClientIpOptions, { peer, headers, principal }: Sent) =>
  ask(clientIp(options), { remoteAddress: peer ?? undefined, headers, principal });

async function warningsOf(act: () => Promise<unknown>): Promise<string[]> {
  const emitted: string[] = [];
  const spy = vi.spyOn(process, 'emitWarning').mockImplementation((warning, options) => {
    emitted.push(`${(options as { code?: string }).code}: ${warning}`);
  });
  try {
    await act();
  } finally {
    spy.mockRestore();
  }
  return emitted;
}

describe('clientIp with requireHeader', () => {
  it.each<[string, ClientIpOptions, Sent]>([
    ['no header', REQUIRED, { peer: PROXY, headers: [] }],
    ['a blank header', REQUIRED, { peer: PROXY, headers: xff('') }],
    ['a header of commas', REQUIRED, { peer: PROXY, headers: xff(' , ,') }],
    ['no address in the header', REQUIRED, { peer: PROXY, headers: xff('unknown') }],
    ['an address on the left of a malformed entry', REQUIRED, { peer: PROXY, headers: xff('6.6.6.6, unknown') }],
    ['a port that is none', REQUIRED, { peer: PROXY, headers: xff('6.6.6.6, 1.2.3.4:99999') }],
    ['a malformed entry behind a second proxy', REQUIRED, { peer: PROXY, headers: xff('6.6.6.6, x, 127.0.0.2') }],
    ['another forwarding header', REQUIRED, { peer: PROXY, headers: [['X-Real-IP', '1.2.3.4']] }],
    [
      'an obfuscated client in Forwarded',
      { ...REQUIRED, headers: ['forwarded'] },
      { peer: PROXY, headers: forwardedLines('for=_hidden') },
    ],
    ['no CF-Connecting-IP', { preset: 'cloudflared', requireHeader: true }, { peer: PROXY, headers: xff('1.2.3.4') }],
    [
      'two lines of CF-Connecting-IP',
      { preset: 'cloudflare', requireHeader: true },
      {
        peer: '173.245.48.1',
        headers: [
          ['CF-Connecting-IP', '1.2.3.4'],
          ['CF-Connecting-IP', '1.2.3.4'],
        ],
      },
    ],
    ['no header on a Unix socket', { trustUnixSocket: true, requireHeader: true }, { peer: null, headers: [] }],
    [
      'no header for a forwarder behind it',
      { ...REQUIRED, forwarder: () => true },
      { peer: PROXY, headers: [], principal: main },
    ],
  ])('refuses a request of a trusted proxy with %s', async (_what, options, sent) => {
    let answer: Awaited<ReturnType<typeof send>> | undefined;
    await warningsOf(async () => {
      answer = await send(options, sent);
    });
    expect(answer?.status).toBe(400);
    expect(JSON.parse(answer?.body ?? '')).toMatchObject({
      code: 'client-address-missing',
      detail: 'The proxy that sent this request did not name the client.',
    });
    expect(answer?.exchange.clientIp).toBeUndefined();
    expect(answer?.faults).toEqual([]);
  });

  it.each<[string, ClientIpOptions, Sent, string | undefined]>([
    ['whose proxy names the client', REQUIRED, { peer: PROXY, headers: xff('6.6.6.6, 1.2.3.4') }, '1.2.3.4'],
    ['whose proxy names a trusted client', REQUIRED, { peer: PROXY, headers: xff('127.0.0.9') }, '127.0.0.9'],
    ['of a peer that is not trusted', REQUIRED, { peer: '9.9.9.9', headers: [] }, '9.9.9.9'],
    [
      'of a forwarder that is not a proxy and acts for itself',
      { ...REQUIRED, forwarder: () => true },
      { peer: '9.9.9.9', headers: [], principal: main },
      '9.9.9.9',
    ],
    [
      'of a forwarder behind a proxy, whose own entry is malformed',
      { ...REQUIRED, forwarder: () => true },
      { peer: PROXY, headers: xff('x, 9.9.9.9'), principal: main },
      '9.9.9.9',
    ],
    [
      'over a Unix socket whose proxy names the client',
      { trustUnixSocket: true, requireHeader: true },
      { peer: null, headers: xff('1.2.3.4') },
      '1.2.3.4',
    ],
    ['over a Unix socket that is not trusted', REQUIRED, { peer: null, headers: [] }, undefined],
  ])('passes a request %s', async (_what, options, sent, ip) => {
    const { passed, exchange } = await send(options, sent);
    expect([passed, exchange.clientIp?.ip]).toEqual([true, ip]);
  });

  it('warns the operator once', async () => {
    const guard = clientIp({ ...REQUIRED, headers: ['x-forwarded-for', 'x-real-ip'] });
    const emitted = await warningsOf(async () => {
      for (let i = 0; i < 3; i++) expect((await ask(guard, { remoteAddress: '::ffff:127.0.0.1' })).status).toBe(400);
    });
    expect(emitted).toEqual([
      'GATEWARDEN_NO_FORWARDING: clientIp refused a request from the trusted proxy 127.0.0.1, which named no client in ' +
        'x-forwarded-for or x-real-ip. Let the proxy set this header, or leave out "requireHeader"',
    ]);
  });

  it.each<[object, string]>([
    [{ requireHeader: true }, '"requireHeader" needs "trust", "preset" or "trustUnixSocket"'],
    [{ requireHeader: true, trust: [] }, '"requireHeader" needs'],
    [{ requireHeader: true, trust: [], preset: 'cloudflare' }, '"requireHeader" needs'],
    [{ requireHeader: true, forwarder: () => true }, '"requireHeader" needs'],
    [{ requireHeader: 1, trust: ['loopback'] }, '"requireHeader" must be true or false, got 1'],
  ])('is refused as %j at construction', (options, message) => {
    const act = () => clientIp(options as ClientIpOptions);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(message);
  });
});

it('clientIp refuses a request whose header lines may be incomplete, from any peer', async () => {
  for (const remoteAddress of [PROXY, '9.9.9.9']) {
    const request = { remoteAddress, headers: xff('1.2.3.4'), headersTruncated: true };
    const reply = await clientIp({ trust: ['loopback'] })((await ask(() => undefined, request)).exchange);
    expect(reply).toMatchObject({ status: 431, problem: { code: 'headers-too-many' } });
  }
});
