import { describe, expect, it, vi } from 'vitest';
import {
  authenticate,
  clientIp,
  limit,
  memoryStore,
  type SlidingWindowOptions,
  sequence,
  sharedSecret,
  slidingWindow,
} from '../../src/index.js';
import { upload } from '../../src/upload/index.js';
import { ask, type HeaderLine } from '../exchange-fixture.js';
import { ENVIRONMENT } from './environment.js';
import { pageText } from './snippets.js';

const SECRET: HeaderLine = ['Authorization', `Bearer ${ENVIRONMENT.SECRET_KEY}`];
const forwarded = (value: string): HeaderLine => ['X-Forwarded-For', value];

describe('the page on client addresses is right:', () => {
  it('Cloudflare in front of nginx', async () => {
    const guard = clientIp({ trust: ['loopback', 'cloudflare'] });
    const { exchange } = await ask(guard, { headers: [forwarded('6.6.6.6, 198.51.100.7, 173.245.48.5')] });
    expect(exchange.clientIp?.ip).toBe('198.51.100.7');
    expect(pageText('docs/client-address.md')).toContain("`trust: ['loopback', 'cloudflare']`");
  });

  it.each([
    ['203.0.113.9, 198.51.100.7', '192.0.2.10'],
    ['198.51.100.7, 192.0.2.10', '127.0.0.1'],
  ])('a forwarder names one address in %s, from %s', async (header, remoteAddress) => {
    const guard = sequence(
      authenticate(sharedSecret({ secrets: [ENVIRONMENT.SECRET_KEY], clientId: 'main-server' })),
      clientIp({ trust: ['loopback'], forwarder: ({ id }) => id === 'main-server' }),
    );
    const { exchange } = await ask(guard, { remoteAddress, headers: [SECRET, forwarded(header)] });
    expect(exchange.clientIp).toMatchObject({ ip: '198.51.100.7', reason: 'forwarder' });
    expect(pageText('docs/client-address.md')).toContain(`\`${header}\``.replace('`203', 'X-Forwarded-For: 203'));
  });
});

describe('the page on limits is right:', () => {
  const limits = (login: Partial<SlidingWindowOptions>) => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const store = memoryStore();
    return {
      everything: limit({ store, by: 'client-ip', policies: slidingWindow({ limit: 60, window: '1m' }) }),
      login: limit({ store, by: 'client-ip', policies: slidingWindow({ limit: 3, window: '1m', ...login }) }),
    };
  };

  it.each([
    ['share a counter without a name', {}, false],
    ['count for themselves with a name', { name: 'login' }, true],
  ])('limits over one store %s', async (_, options, passes) => {
    const { everything, login } = limits(options);
    for (let i = 0; i < 3; i++) expect((await ask(everything)).passed).toBe(true);
    expect((await ask(login)).passed).toBe(passes);
  });

  it('t can be up to 1/64 larger than w', async () => {
    const now = () => 1_800_000_000_001;
    const guard = limit({
      store: memoryStore({ now }),
      by: 'global',
      policies: slidingWindow({ limit: 1000, window: '1h' }),
    });
    const { exchange } = await ask(guard);
    const t = Number(/t=(\d+)/.exec(exchange.get('RateLimit') ?? '')?.[1]);
    expect(t).toBeGreaterThan(3600);
    expect(t).toBeLessThanOrEqual(Math.ceil(3600 * (1 + 1 / 64)));
  });
});

it('the page on uploads shows the limit of the whole body', async () => {
  const guard = upload({ files: { types: ['image/png'], maxBytes: '50mb' } });
  const send = (bytes: number) =>
    ask(guard, {
      method: 'POST',
      headers: [
        ['Content-Type', 'multipart/form-data; boundary=x'],
        ['Content-Length', String(bytes)],
      ],
    });
  const [, shown = ''] = /this is ([\d,]+) bytes/.exec(pageText('docs/uploads.md')) ?? [];
  const limit = Number(shown.replaceAll(',', ''));
  expect(JSON.parse((await send(limit + 1)).body)).toMatchObject({ code: 'upload-too-large', part: 'body', limit });
  expect(JSON.parse((await send(limit)).body)).toMatchObject({ code: 'upload-malformed' });
});
