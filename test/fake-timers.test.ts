import {
  apiKeys,
  audit,
  authenticate,
  type Guard,
  generateApiKey,
  ingestToken,
  limit,
  memoryReplayStore,
  sequence,
  sharedSecret,
  signedRequest,
  signRequest,
  slidingWindow,
} from 'gatewarden';
import { jwt, jwtIssuer } from 'gatewarden/jwt';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ask } from './exchange-fixture.js';

const SECRET = 'c4n4ry-secret-0123456789-0123456789';
const START = Date.parse('2030-01-01T00:00:00Z');
const DAY = 86_400_000;
const expiresAt = START + DAY;
const bearer = { headers: [['Authorization', `Bearer ${SECRET}`]] } as const;

// All of these are made before the clock is replaced, as a service under test makes them when its modules load.
const { key, record } = generateApiKey();
const [digest] = record.digests;
const issuer = jwtIssuer({ algorithm: 'HS256', key: SECRET, expiresIn: '1d' });
const tokens = authenticate(jwt({ algorithms: ['HS256'], key: SECRET }));
const times: number[] = [];
const EXPIRING: readonly (readonly [name: string, guard: Guard, request: object])[] = [
  ['sharedSecret', authenticate(sharedSecret({ secrets: [{ secret: SECRET, expiresAt }] })), bearer],
  [
    'apiKeys',
    authenticate(apiKeys({ keys: [{ ...record, digests: [{ digest: digest?.digest ?? '', expiresAt }] }] })),
    { headers: [['X-API-Key', key]] },
  ],
  [
    'ingestToken',
    authenticate(ingestToken({ tokens: [{ secret: SECRET, expiresAt }] })),
    { headers: [['X-Ingest-Token', SECRET]] },
  ],
];
const signed = authenticate(
  signedRequest({ keys: [{ id: 'main', secret: SECRET }], replayStore: memoryReplayStore(), authority: 'localhost' }),
);
const audited = sequence(
  audit({ sink: ({ at }) => times.push(at) }),
  authenticate(sharedSecret({ secrets: [SECRET] })),
);
const limited = limit({ by: 'global', policies: slidingWindow({ limit: 1, window: '1m' }) });

describe('fake timers reach what was made before them', () => {
  beforeEach(() => void vi.useFakeTimers({ now: START }));
  afterEach(() => void vi.useRealTimers());

  it.each(EXPIRING)('%s', async (_name, guard, request) => {
    expect((await ask(guard, request)).status).toBeUndefined();
    vi.setSystemTime(expiresAt);
    expect((await ask(guard, request)).status).toBe(401);
  });

  it('jwtIssuer and jwt', async () => {
    const headers = [['Authorization', `Bearer ${await issuer.issue({ sub: 'alice' })}`]] as const;
    expect((await ask(tokens, { headers })).exchange.principal?.expiresAt).toBe(START + DAY);
    vi.setSystemTime(START + DAY);
    expect((await ask(tokens, { headers })).status).toBe(401);
  });

  it('signRequest, signedRequest and memoryReplayStore', async () => {
    const sign = () =>
      Object.entries(signRequest({ keyId: 'main', secret: SECRET, method: 'GET', url: 'http://localhost/' }));
    const headers = sign();
    expect((await ask(signed, { headers })).status).toBeUndefined();
    vi.setSystemTime(START + DAY);
    expect((await ask(signed, { headers })).status).toBe(401);
    expect((await ask(signed, { headers: sign() })).status).toBeUndefined();
  });

  it('audit', async () => {
    await ask(audited, bearer);
    expect(times).toEqual([START]);
  });

  it('limit with memoryStore', async () => {
    expect((await ask(limited)).status).toBeUndefined();
    expect((await ask(limited)).status).toBe(429);
    vi.advanceTimersByTime(61_000);
    expect((await ask(limited)).status).toBeUndefined();
  });
});
