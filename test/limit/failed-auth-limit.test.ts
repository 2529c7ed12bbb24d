import { describe, expect, it } from 'vitest';
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

const bearer = (token: string): HeaderLine => ['Authorization', `Bearer ${token}`];
const GOOD = 'good';
const principal = { id: 'a', scheme: 'test', scopes: [], credentialId: 'c' };

/** Lets in `good`, at once or later, and counts what it was asked. */
function scheme(later: boolean) {
  const asked: string[] = [];
  const judge = (token: string): Verdict =>
    token === GOOD ? { kind: 'authenticated', principal } : { kind: 'invalid', reason: 'unknown' };
  const authenticator: Authenticator = {
    scheme: 'test',
    challenge: 'Bearer',
    read: readBearer,
    verify(token) {
      asked.push(token);
      return later ? Promise.resolve(judge(token)) : judge(token);
    },
  };
  return { authenticator, asked };
}

/** A store that answers by promise, as Redis does. */
function promising(store: LimitStore): LimitStore {
  return {
    admit: async (...args) => store.admit(...args),
    settle: async (...args) => store.settle(...args),
    peek: async (...args) => store.peek(...args),
    reset: async (...args) => store.reset(...args),
  };
}

function build(later: boolean, options: Partial<FailedAuthLimitOptions> = {}) {
  const clock = { now: 1_000_000 };
  const { authenticator, asked } = scheme(later);
  const memory = memoryStore({ now: () => clock.now });
  const limit = failedAuthLimit({
    store: later ? promising(memory) : memory,
    limit: 3,
    window: '1m',
    ...options,
  });
  const guard = sequence(clientIp(), authenticate(authenticator, { failedAuthLimit: limit }));
  const call = (token: string | undefined, remoteAddress = '192.0.2.1') =>
    ask(guard, { remoteAddress, headers: token === undefined ? [] : [bearer(token)] });
  return { call, asked, clock };
}

for (const later of [false, true]) {
  describe(`failedAuthLimit, ${later ? 'by promises' : 'at once'}`, () => {
    it('refuses what comes after the limit, before it is verified', async () => {
      const { call, asked, clock } = build(later);
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
      expect(asked).toHaveLength(3);
    });

    it('lets go of failures as they leave the window, and what it refused does not count', async () => {
      const { call, clock } = build(later);
      for (let i = 0; i < 20; i++) await call('bad');
      clock.now += 59_999;
      expect((await call(GOOD)).status).toBe(429);
      clock.now += 1;
      expect((await call(GOOD)).passed).toBe(true);
    });

    it('counts no credentials that were accepted, missing or malformed', async () => {
      const { call } = build(later);
      for (let i = 0; i < 10; i++) {
        expect((await call(GOOD)).passed).toBe(true);
        expect((await call(undefined)).status).toBe(401);
        expect((await call('"x"')).status).toBe(400);
      }
      expect((await call(GOOD)).passed).toBe(true);
    });

    it('asks a caller without credentials for them, although its address has failed too often', async () => {
      const { call } = build(later);
      for (let i = 0; i < 4; i++) await call('bad');
      expect((await call(undefined)).status).toBe(401);
    });

    it('keeps addresses apart, and an IPv6 prefix together', async () => {
      const { call } = build(later);
      for (let i = 0; i < 3; i++) await call('bad', `2001:db8::${i + 1}`);
      expect((await call(GOOD, '2001:db8::ffff')).status).toBe(429);
      expect((await call(GOOD, '2001:db8:0:1::1')).passed).toBe(true);
      expect((await call(GOOD, '192.0.2.2')).passed).toBe(true);
    });

    it('counts by what it is told', async () => {
      const { call } = build(later, { by: 'global' });
      for (let i = 0; i < 3; i++) await call('bad', `192.0.2.${i}`);
      expect((await call(GOOD, '198.51.100.1')).status).toBe(429);
    });

    it('tells no more than the limit of many that come together that they were wrong', async () => {
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
      'at once, by an outage',
      () => {
        throw outage;
      },
      [],
    ],
    ['later, by an outage', () => Promise.reject(outage), []],
    [
      'at once, by a fault',
      () => {
        throw broken;
      },
      [broken],
    ],
    ['later, by a fault', () => Promise.reject(broken), [broken]],
  ])('%s, lets nobody try', async (_how, fail, told) => {
    const { authenticator, asked } = scheme(false);
    const store: LimitStore = { admit: fail, settle: fail, peek: fail, reset: fail };
    const limit = failedAuthLimit({ store, limit: 3, window: '1m', by: 'global' });
    const { status, faults, replyHeaders } = await ask(authenticate(authenticator, { failedAuthLimit: limit }), {
      headers: [bearer(GOOD)],
    });
    expect([status, replyHeaders, faults]).toEqual([503, { 'Retry-After': '5' }, told]);
    expect(asked).toEqual([]);
  });

  it.each([
    [
      'at once',
      () => {
        throw outage;
      },
    ],
    ['later', () => Promise.reject(outage)],
  ])('when a failure is to be counted, %s, still refuses', async (_how, fail) => {
    const { authenticator } = scheme(false);
    const store: LimitStore = {
      ...memoryStore(),
      admit: fail,
      peek: (policies) => policies.map((p) => ({ name: p.name, limit: 3, remaining: 3, resetAt: 0 })),
      settle: () => undefined,
      reset: () => undefined,
    };
    const limit = failedAuthLimit({ store, limit: 3, window: '1m', by: 'global' });
    const { status } = await ask(authenticate(authenticator, { failedAuthLimit: limit }), { headers: [bearer('bad')] });
    expect(status).toBe(503);
  });
});

describe('what a store says between the question and the charge', () => {
  const state = { name: 'failed-auth', limit: 3, remaining: 0, resetAt: 0 };
  const REFUSED = { kind: 'refused', at: 0, states: [state], violations: [{ state, retryAt: 7000 }] } as const;
  const ADMITTED = { kind: 'admitted', at: 0, states: [state], receipt: {} } as const;

  function guarded(store: LimitStore, later = false) {
    const { authenticator, asked } = scheme(later);
    const limit = failedAuthLimit({ store, limit: 3, window: '1m', by: 'global' });
    const guard = authenticate(authenticator, { failedAuthLimit: limit });
    return { asked, call: (token: string) => ask(guard, { headers: [bearer(token)] }) };
  }

  const store = (own: Partial<LimitStore>): LimitStore => ({
    admit: () => ADMITTED,
    settle: () => undefined,
    peek: () => [state],
    reset: () => undefined,
    ...own,
  });

  it.each([
    ['at once', (answer: LimitStore) => answer],
    ['later', promising],
  ])('costs nothing where the window has made room meanwhile, %s', async (_how, wrap) => {
    const settled: unknown[] = [];
    const { call } = guarded(wrap(store({ settle: (...args) => void settled.push(args) })));
    expect((await call(GOOD)).passed).toBe(true);
    expect(settled).toEqual([[ADMITTED.receipt, 0]]);
  });

  it('is told of where the charge could not be given back', async () => {
    const down = new Error('down');
    const { call } = guarded(store({ settle: () => Promise.reject(down) }));
    const { passed, faults } = await call(GOOD);
    await new Promise(setImmediate);
    expect([passed, faults]).toEqual([true, [down]]);
  });

  it('is asked for once more where it knows nothing of the counter', async () => {
    const { call, asked } = guarded(store({ peek: () => [], admit: () => REFUSED }));
    const { status, replyHeaders } = await call(GOOD);
    expect([status, replyHeaders, asked]).toEqual([429, { 'Retry-After': '7' }, []]);
  });

  it('sends nobody away for less than a second', async () => {
    const admit = () => ({ ...REFUSED, at: 7000 });
    expect((await guarded(store({ admit })).call(GOOD)).replyHeaders).toEqual({ 'Retry-After': '1' });
  });

  it.each([false, true])(
    'refuses the failure for which there is no room any more, by a scheme that waits: %s',
    async (later) => {
      const { call, asked } = guarded(store({ peek: () => [{ ...state, remaining: 1 }], admit: () => REFUSED }), later);
      const { status, replyHeaders } = await call('bad');
      expect([status, replyHeaders, asked]).toEqual([429, { 'Retry-After': '7' }, ['bad']]);
    },
  );
});

it('counts an address apart from what a function gives, though both are the same text', async () => {
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

it('is a fault, not a pass, without clientIp before it', async () => {
  const { authenticator, asked } = scheme(false);
  const limit = failedAuthLimit({ store: memoryStore(), limit: 3, window: '1m' });
  const { status, faults } = await ask(authenticate(authenticator, { failedAuthLimit: limit }), {
    headers: [bearer(GOOD)],
  });
  expect([status, String(faults[0])]).toEqual([500, expect.stringContaining('clientIp')]);
  expect(asked).toEqual([]);
});

it('keeps a million addresses in bounded memory, and refuses none for it that the store has room for', async () => {
  const store = memoryStore({ maxEntries: 1000 });
  const limit = failedAuthLimit({ store, limit: 3, window: '1m', by: (exchange) => exchange.request.url });
  const { authenticator } = scheme(false);
  const guard = authenticate(authenticator, { failedAuthLimit: limit });
  for (let i = 0; i < 20_000; i++) await ask(guard, { url: `/${i}`, headers: [bearer('bad')] });
  expect(store.size).toBeLessThanOrEqual(1000);
  // One of those that have a counter of their own keeps it, whatever came after.
  for (let i = 0; i < 2; i++) await ask(guard, { url: '/0', headers: [bearer('bad')] });
  expect((await ask(guard, { url: '/0', headers: [bearer(GOOD)] })).status).toBe(429);
});

it.each([
  ['no store', { limit: 3, window: '1m' }, 'store'],
  ['no limit', { store: memoryStore(), window: '1m' }, 'limit'],
  ['a limit of 0', { store: memoryStore(), limit: 0, window: '1m' }, 'limit'],
  ['no window', { store: memoryStore(), limit: 3 }, 'window'],
  ['counting by principal', { store: memoryStore(), limit: 3, window: '1m', by: 'principal' }, 'principal'],
  ['a misspelt option', { store: memoryStore(), limit: 3, window: '1m', max: 3 }, 'max'],
])('cannot be made with %s', (_what, options, named) => {
  const act = () => failedAuthLimit(options as unknown as FailedAuthLimitOptions);
  expect(act).toThrow(OptionError);
  expect(act).toThrow(named);
});

it('is refused by authenticate unless it is one', () => {
  const { authenticator } = scheme(false);
  expect(() => authenticate(authenticator, { failedAuthLimit: { check: 5 } as never })).toThrow(/failedAuthLimit/);
});
