import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { guard as expressGuard } from '../../src/adapters/express.js';
import { clientIp } from '../../src/client-ip/client-ip.js';
import type { Guard } from '../../src/core/guard.js';
import { sequence } from '../../src/core/sequence.js';
import { limit } from '../../src/limit/limit.js';
import { slidingWindow } from '../../src/limit/policy.js';
import { type TestExchangeOptions, testExchange } from '../exchange-fixture.js';

describe('limit by client-ip without a clientIp guard', () => {
  const guardOf = () => limit({ by: 'client-ip', policies: slidingWindow({ limit: 1, window: '1m' }) });

  async function statusOf(guard: Guard, options: TestExchangeOptions): Promise<number> {
    const { exchange, faults } = testExchange(options);
    const reply = await sequence(guard)(exchange);
    expect(faults).toEqual([]);
    return reply?.status ?? 200;
  }

  it.each([
    ['one IPv4 address', '192.0.2.1', '192.0.2.1', true],
    ['two IPv4 addresses', '192.0.2.1', '192.0.2.2', false],
    ['an IPv4 address and its IPv4-mapped form', '192.0.2.1', '::ffff:192.0.2.1', true],
    ['two addresses of one IPv6 /64', '2001:db8::1', '2001:db8::ffff:1', true],
    ['two IPv6 /64 prefixes', '2001:db8::1', '2001:db8:0:1::1', false],
    ['one link-local address over two interfaces', 'fe80::1%eth0', 'fe80::1%eth1', true],
    ['two callers on a Unix socket', undefined, undefined, true],
    ['a Unix socket and an address', undefined, '192.0.2.1', false],
  ] as const)('counts %s (%s, %s) together: %s', async (_what, first, second, together) => {
    const guard = guardOf();
    expect(await statusOf(guard, { remoteAddress: first })).toBe(200);
    expect(await statusOf(guard, { remoteAddress: second })).toBe(together ? 429 : 200);
  });

  it.each(['192.0.2.1', '::ffff:192.0.2.1', '2001:db8::1', 'fe80::1%eth0', undefined])(
    'counts %s under the key that clientIp() finds',
    async (remoteAddress) => {
      const guard = guardOf();
      expect(await statusOf(guard, { remoteAddress })).toBe(200);
      expect(await statusOf(sequence(clientIp(), guard), { remoteAddress })).toBe(429);
    },
  );

  it('ignores the address in a forwarding header', async () => {
    onTestFinished(muteWarnings().restore);
    const guard = guardOf();
    const statuses: number[] = [];
    for (const ip of ['203.0.113.1', '203.0.113.2'])
      statuses.push(await statusOf(guard, { headers: [['X-Forwarded-For', ip]] }));
    expect(statuses).toEqual([200, 429]);
  });

  function muteWarnings() {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    return { warned, restore: () => warned.mockRestore() };
  }

  it.each(['x-forwarded-for', 'x-real-ip', 'forwarded', 'cf-connecting-ip'])(
    'warns once per guard if a request carries %s, and says what to do',
    async (header) => {
      const { warned, restore } = muteWarnings();
      onTestFinished(restore);
      const guards = [guardOf(), guardOf()];
      for (const guard of guards) {
        await statusOf(guard, {});
        expect(warned).not.toHaveBeenCalled();
        for (let i = 0; i < 3; i++) await statusOf(guard, { headers: [[header, '203.0.113.1']] });
        expect(warned.mock.calls).toEqual([
          [
            `limit counts by the socket's address, but a request came with ${header}: ` +
              'put clientIp({ trust: [...] }) before limit, or all clients behind your proxy share one limit',
            { code: 'GATEWARDEN_NO_CLIENT_IP' },
          ],
        ]);
        warned.mockClear();
      }
    },
  );

  it('does not warn if clientIp ran before it', async () => {
    const { warned, restore } = muteWarnings();
    onTestFinished(restore);
    const guard = sequence(clientIp({ trust: ['loopback'] }), guardOf());
    await statusOf(guard, { headers: [['X-Forwarded-For', '203.0.113.1']] });
    expect(warned).not.toHaveBeenCalled();
  });

  it('counts by the socket’s address in Express, over a real socket', async () => {
    const { warned, restore } = muteWarnings();
    onTestFinished(restore);
    const app = express();
    app.post(
      '/generate',
      expressGuard(limit({ by: 'client-ip', policies: slidingWindow({ limit: 2, window: '1h' }) })),
    );
    app.post('/generate', (_request, response) => void response.json({ ok: true }));
    const server = app.listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/generate`;
    const statuses: number[] = [];
    for (const headers of [{}, { 'X-Forwarded-For': '203.0.113.1' }, { 'X-Forwarded-For': '203.0.113.2' }])
      statuses.push((await fetch(url, { method: 'POST', headers })).status);
    expect(statuses).toEqual([200, 200, 429]);
    expect(warned).toHaveBeenCalledTimes(1);
  });
});
