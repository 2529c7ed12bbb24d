import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { authenticate } from '../../src/auth/authenticate.js';
import type { Authenticator, Verdict } from '../../src/auth/authenticator.js';
import { readBearer } from '../../src/auth/bearer.js';
import { clientIp } from '../../src/client-ip/client-ip.js';
import { OptionError } from '../../src/core/option.js';
import { sequence } from '../../src/core/sequence.js';
import { type FailedAuthLimitOptions, failedAuthLimit } from '../../src/limit/failed-auth-limit.js';
import { memoryStore } from '../../src/limit/memory/memory-store.js';
import { type LimitStore, unavailable } from '../../src/limit/store.js';
import { ask, type HeaderLine } from '../exchange-fixture.js';
import { late } from './late-store.js';

const bearer = (token: string): HeaderLine => ['Authorization', `Bearer ${token}`];
const GOOD = 'good';
const principal = { id: 'a', scheme: 'test', scopes: [], credentialId: 'c' };

/** Accepts `good`, at once or by a promise, and records the tokens that it verified. */
function scheme(later: boolean) {
  const verified: string[] = [];
  const verdictOn = (token: string): Verdict =>
    token === GOOD ? { kind: 'authenticated', principal } : { kind: 'invalid', reason: 'unknown' };
  const authenticator: Authenticator = {
    scheme: 'test',
    challenge: 'Bearer',
    read: readBearer,
    verify(token) {
      verified.push(token);
      return later ? Promise.resolve(verdictOn(token)) : verdictOn(token);
    },
  };
  return { authenticator, verified };
}

function build(later: boolean, options: Partial<FailedAuthLimitOptions> = {}) {
  const clock = { now: 1_000_000 };
  const { authenticator, verified } = scheme(later);
  const memory = memoryStore({ now: () => clock.now });
  const limit = failedAuthLimit({
    store: later ? late(memory) : memory,
    limit: 3,
    window: '1m',
    ...options,
  });
  const guard = sequence(clientIp(), authenticate(authenticator, { failedAuthLimit: limit }));
  const call = (token: string | undefined, remoteAddress = '192.0.2.1') =>
    ask(guard, { remoteAddress, headers: token === undefined ? [] : [bearer(token)] });
  return { call, verified, clock };
}

for (const later of [false, true]) {
  describe(`failedAuthLimit, ${later ? 'by promises' : 'at once'}`, () => {
    it('refuses further credentials after the limit without verifying them', async () => {
      const { call, verified, clock } = build(later);
      for (let i = 0; i < 3; i++) {
        clock.now += 1000;
        expect((await call('bad')).status).toBe(401);
      }
      const refused = await call('bad');
      expect(refused.status).toBe(429);
      expect(JSON.parse(refused.body)).toMatchObject({ code: 'authentication-throttled' });
      // The first failure leaves the window 58 s from here.
      expect(refused.replyHeaders).toEqual({ 'Retry-After': '58' });
      expect((await call(GOOD)).status).toBe(429);
      expect(verified).toHaveLength(3);
    });

    it('forgets failures as they leave the window, and does not count what it refused', async () => {
      const { call, clock } = build(later);
      for (let i = 0; i < 20; i++) await call('bad');
      clock.now += 59_999;
      expect((await call(GOOD)).status).toBe(429);
      clock.now += 1;
      expect((await call(GOOD)).passed).toBe(true);
    });

    it('does not count credentials that are accepted, missing or malformed', async () => {
      const { call } = build(later);
      for (let i = 0; i < 10; i++) {
        expect((await call(GOOD)).passed).toBe(true);
        expect((await call(undefined)).status).toBe(401);
        expect((await call('"x"')).status).toBe(400);
      }
      expect((await call(GOOD)).passed).toBe(true);
    });

    it('answers 401 to a request without credentials from an address at the limit', async () => {
      const { call } = build(later);
      for (let i = 0; i < 4; i++) await call('bad');
      expect((await call(undefined)).status).toBe(401);
    });

    it('counts each IPv4 address and each IPv6 /64 separately', async () => {
      const { call } = build(later);
      for (let i = 0; i < 3; i++) await call('bad', `2001:db8::${i + 1}`);
      expect((await call(GOOD, '2001:db8::ffff')).status).toBe(429);
      expect((await call(GOOD, '2001:db8:0:1::1')).passed).toBe(true);
      expect((await call(GOOD, '192.0.2.2')).passed).toBe(true);
    });

    it('counts by its option "by"', async () => {
      const { call } = build(later, { by: 'global' });
      for (let i = 0; i < 3; i++) await call('bad', `192.0.2.${i}`);
      expect((await call(GOOD, '198.51.100.1')).status).toBe(429);
    });

    it('reports no more wrong guesses than the limit when many arrive together', async () => {
      const { call } = build(later);
      const answers = await Promise.all(Array.from({ length: 200 }, () => call('bad')));
      const statuses = answers.map(({ status }) => status);
      expect(statuses.filter((status) => status === 401)).toHaveLength(3);
      expect(statuses.filter((status) => status === 429)).toHaveLength(197);
    });
  });
}

describe('a store that fails', () => {
  const outage = unavailable('Redis does not answer');
  const broken = new Error('no such key');
  it.each([
    [
      'throws for an outage',
      () => {
        throw outage;
      },
      [],
    ],
    ['rejects for an outage', () => Promise.reject(outage), []],
    [
      'throws for a fault',
      () => {
        throw broken;
      },
      [broken],
    ],
    ['rejects for a fault', () => Promise.reject(broken), [broken]],
  ])('that %s answers 503 and verifies nothing', async (_how, fail, reported) => {
    const { authenticator, verified } = scheme(false);
    const store: LimitStore = { admit: fail, settle: fail, renew: fail, release: fail, peek: fail, reset: fail };
    const limit = failedAuthLimit({ store, limit: 3, window: '1m', by: 'global' });
    const { status, faults, replyHeaders } = await ask(authenticate(authenticator, { failedAuthLimit: limit }), {
      headers: [bearer(GOOD)],
    });
    expect([status, replyHeaders, faults]).toEqual([503, { 'Retry-After': '5' }, reported]);
    expect(verified).toEqual([]);
  });

  it.each([
    [
      'throws',
      () => {
        throw outage;
      },
    ],
    ['rejects', () => Promise.reject(outage)],
  ])('that %s when a failure is counted answers 503', async (_how, fail) => {
    const { authenticator } = scheme(false);
    const store: LimitStore = {
      admit: fail,
      renew: () => true,
      release: () => undefined,
      peek: (policies) => policies.map((p) => ({ name: p.name, limit: 3, remaining: 3, resetAt: 0 })),
      settle: () => undefined,
      reset: () => undefined,
    };
    const limit = failedAuthLimit({ store, limit: 3, window: '1m', by: 'global' });
    const { status } = await ask(authenticate(authenticator, { failedAuthLimit: limit }), { headers: [bearer('bad')] });
    expect(status).toBe(503);
  });
});

describe('failedAuthLimit, if the store changes between peek and charge,', () => {
  const state = { name: 'failed-auth', limit: 3, remaining: 0, resetAt: 0 };
  const REFUSED = { kind: 'refused', at: 0, states: [state], violations: [{ state, retryAt: 7000 }] } as const;
  const ADMITTED = { kind: 'admitted', at: 0, states: [state], holds: [], receipt: {} } as const;

  function guarded(store: LimitStore, later = false) {
    const { authenticator, verified } = scheme(later);
    const limit = failedAuthLimit({ store, limit: 3, window: '1m', by: 'global' });
    const guard = authenticate(authenticator, { failedAuthLimit: limit });
    return { verified, call: (token: string) => ask(guard, { headers: [bearer(token)] }) };
  }

  const store = (overrides: Partial<LimitStore>): LimitStore => ({
    admit: () => ADMITTED,
    settle: () => undefined,
    peek: () => [state],
    renew: () => true,
    release: () => undefined,
    reset: () => undefined,
    ...overrides,
  });

  it.each([
    ['at once', (unchanged: LimitStore) => unchanged],
    ['by a promise', late],
  ])('refunds its charge if the window has room again, answered %s', async (_how, wrap) => {
    const settled: unknown[] = [];
    const { call } = guarded(wrap(store({ settle: (...args) => void settled.push(args) })));
    expect((await call(GOOD)).passed).toBe(true);
    expect(settled).toEqual([[ADMITTED.receipt, [0]]]);
  });

  it('reports a refund that fails', async () => {
    const down = new Error('down');
    const { call } = guarded(store({ settle: () => Promise.reject(down) }));
    const { passed, faults } = await call(GOOD);
    await new Promise(setImmediate);
    expect([passed, faults]).toEqual([true, [down]]);
  });

  it('decides by the charge if peek returned no state', async () => {
    const { call, verified } = guarded(store({ peek: () => [], admit: () => REFUSED }));
    const { status, replyHeaders } = await call(GOOD);
    expect([status, replyHeaders, verified]).toEqual([429, { 'Retry-After': '7' }, []]);
  });

  it('sends a Retry-After of at least one second', async () => {
    const admit = () => ({ ...REFUSED, at: 7000 });
    expect((await guarded(store({ admit })).call(GOOD)).replyHeaders).toEqual({ 'Retry-After': '1' });
  });

  it.each([false, true])(
    'refuses a failure for which there is no room any more, with an asynchronous scheme: %s',
    async (later) => {
      const { call, verified } = guarded(
        store({ peek: () => [{ ...state, remaining: 1 }], admit: () => REFUSED }),
        later,
      );
      const { status, replyHeaders } = await call('bad');
      expect([status, replyHeaders, verified]).toEqual([429, { 'Retry-After': '7' }, ['bad']]);
    },
  );
});

it('counts an address apart from the same text returned by a function', async () => {
  const store = memoryStore();
  const { authenticator } = scheme(false);
  const guarded = (options: Partial<FailedAuthLimitOptions>) =>
    sequence(
      clientIp(),
      authenticate(authenticator, { failedAuthLimit: failedAuthLimit({ store, limit: 1, window: '1m', ...options }) }),
    );
  const request = { remoteAddress: '192.0.2.1', headers: [bearer('bad')] };
  const byUser = guarded({ by: () => '192.0.2.1' });
  expect([(await ask(byUser, request)).status, (await ask(byUser, request)).status]).toEqual([401, 429]);
  expect((await ask(guarded({}), request)).status).toBe(401);
});

describe('failedAuthLimit without clientIp', () => {
  const guarded = () =>
    authenticate(scheme(false).authenticator, { failedAuthLimit: failedAuthLimit({ limit: 1, window: '1m' }) });

  it('counts by the socket’s address, in a memory store of its own', async () => {
    const guard = guarded();
    const bad = { headers: [bearer('bad')], remoteAddress: '2001:db8::1' };
    expect((await ask(guard, bad)).status).toBe(401);
    expect((await ask(guard, { ...bad, remoteAddress: '2001:db8::2' })).status).toBe(429);
    expect((await ask(guard, { ...bad, remoteAddress: '192.0.2.1' })).status).toBe(401);
    expect((await ask(guarded(), bad)).status).toBe(401);
  });

  it('warns once if a request carries a forwarding header', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    onTestFinished(() => warned.mockRestore());
    const guard = guarded();
    const headers = [bearer('bad'), ['X-Forwarded-For', '203.0.113.9']] as const;
    for (let i = 0; i < 3; i++) await ask(guard, { headers });
    expect(warned.mock.calls).toEqual([
      [
        "failedAuthLimit counts by the socket's address, but a request came with x-forwarded-for: " +
          'put clientIp({ trust: [...] }) before authenticate, or all clients behind your proxy share one limit',
        { code: 'GATEWARDEN_NO_CLIENT_IP' },
      ],
    ]);
  });

  it('is a fault, not a pass, if the socket’s address is not an address', async () => {
    const { authenticator, verified } = scheme(false);
    const limit = failedAuthLimit({ limit: 3, window: '1m' });
    const { status, faults } = await ask(authenticate(authenticator, { failedAuthLimit: limit }), {
      remoteAddress: 'localhost',
      headers: [bearer(GOOD)],
    });
    expect([status, String(faults[0])]).toEqual([
      500,
      'Error: gatewarden: failedAuthLimit cannot count by the socket\'s address: "localhost" is not an IP address',
    ]);
    expect(verified).toEqual([]);
  });
});

it('keeps many addresses in bounded memory, and still counts those that have a counter', async () => {
  const store = memoryStore({ maxEntries: 1000 });
  const limit = failedAuthLimit({ store, limit: 3, window: '1m', by: (exchange) => exchange.request.url });
  const { authenticator } = scheme(false);
  const guard = authenticate(authenticator, { failedAuthLimit: limit });
  for (let i = 0; i < 20_000; i++) await ask(guard, { url: `/${i}`, headers: [bearer('bad')] });
  expect(store.size).toBeLessThanOrEqual(1000);
  // New addresses have their own limit, whatever came before.
  for (let i = 0; i < 100; i++) {
    const url = `/new/${i}`;
    expect((await ask(guard, { url, headers: [bearer(GOOD)] })).status).toBeUndefined();
    for (let j = 0; j < 3; j++) expect((await ask(guard, { url, headers: [bearer('bad')] })).status).toBe(401);
    expect((await ask(guard, { url, headers: [bearer(GOOD)] })).status).toBe(429);
  }
});

it('lets a valid key pass from any new address while its counters are full of addresses at their limit', async () => {
  const store = memoryStore({ maxEntries: 100 });
  const limit = failedAuthLimit({ store, limit: 2, window: '10m', by: (exchange) => exchange.request.url });
  const { authenticator } = scheme(false);
  const guard = authenticate(authenticator, { failedAuthLimit: limit });
  const guess = (url: string) => ask(guard, { url, headers: [bearer('bad')] });
  for (let i = 0; i < 3000; i++) {
    await guess(`/${i}`);
    await guess(`/${i}`);
  }
  for (let i = 0; i < 200; i++) {
    expect((await ask(guard, { url: `/new/${i}`, headers: [bearer(GOOD)] })).status).toBeUndefined();
  }
  // Guesses are still slowed down.
  const answers = [];
  for (let i = 0; i < 3; i++) answers.push((await guess('/guesser')).status);
  expect(answers.at(-1)).toBe(429);
  for (let i = 0; i < 100; i++) expect((await guess(`/${i}`)).status).toBe(429);
});

it.each([
  ['a store that is not one', { store: {}, limit: 3, window: '1m' }, 'store'],
  ['no limit', { store: memoryStore(), window: '1m' }, 'limit'],
  ['a limit of 0', { store: memoryStore(), limit: 0, window: '1m' }, 'limit'],
  ['no window', { store: memoryStore(), limit: 3 }, 'window'],
  ['counting by principal', { store: memoryStore(), limit: 3, window: '1m', by: 'principal' }, 'principal'],
  [
    'counting by principal or address',
    { store: memoryStore(), limit: 3, window: '1m', by: 'principal-or-client-ip' },
    '"by" must not be principal-or-client-ip',
  ],
  ['a misspelt option', { store: memoryStore(), limit: 3, window: '1m', max: 3 }, 'max'],
])('refuses options with %s', (_what, options, named) => {
  const act = () => failedAuthLimit(options as unknown as FailedAuthLimitOptions);
  expect(act).toThrow(OptionError);
  expect(act).toThrow(named);
});

it('must be passed to authenticate, which refuses anything else', () => {
  const { authenticator } = scheme(false);
  expect(() => authenticate(authenticator, { failedAuthLimit: { check: 5 } as never })).toThrow(/failedAuthLimit/);
});
