import { hash } from 'node:crypto';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { Exchange } from '../../src/core/exchange.js';
import type { Guard } from '../../src/core/guard.js';
import { OptionError } from '../../src/core/option.js';
import type { Outcome } from '../../src/core/outcome.js';
import type { Principal } from '../../src/core/principal.js';
import { problem } from '../../src/core/problem.js';
import type { Reply } from '../../src/core/reply.js';
import { refuse } from '../../src/core/reply.js';
import { sequence } from '../../src/core/sequence.js';
import { type LimitOptions, limit, type RefundCause } from '../../src/limit/limit.js';
import { type MemoryStore, memoryStore } from '../../src/limit/memory/memory-store.js';
import { dailyQuota, type QuotaPolicy, slidingWindow } from '../../src/limit/policy.js';
import type { Decision, LimitStore } from '../../src/limit/store.js';
import { ManualClock } from '../contracts/limit-store.js';
import { type TestExchange, testExchange } from '../exchange-fixture.js';
import { failing } from '../failing.js';
import { late } from './late-store.js';

const NOON = Date.UTC(2025, 5, 15, 12);
const HOUR = 3_600_000;

const perMinute = (limit: number) => slidingWindow({ limit, window: '1m' });

interface Caller {
  readonly ip?: string;
  readonly principal?: string;
  readonly credentialId?: string;
}

const CALLER: Caller = { ip: '192.0.2.1', principal: 'alice' };

function principalNamed(id: string, credentialId = 'first'): Principal {
  return { id, scheme: 'shared-secret', scopes: [], credentialId };
}

function exchangeOf({ ip, principal, credentialId }: Caller): TestExchange {
  const test = testExchange({
    principal: principal === undefined ? undefined : principalNamed(principal, credentialId),
  });
  if (ip !== undefined) test.exchange.clientIp = { ip, key: ip, source: 'socket', reason: 'direct' };
  return test;
}

interface Answer extends TestExchange {
  readonly reply: Reply | undefined;
}

/** Sends a request through guards as an adapter does. */
async function send(guards: Guard | readonly Guard[], caller: Caller = CALLER): Promise<Answer> {
  const test = exchangeOf(caller);
  const reply = await sequence(...(typeof guards === 'function' ? [guards] : guards))(test.exchange);
  return { ...test, reply };
}

/** 200 if the exchange goes on to its handler. */
async function status(guards: Guard | readonly Guard[], caller: Caller = CALLER): Promise<number> {
  return (await send(guards, caller)).reply?.status ?? 200;
}

function setup(): { readonly store: MemoryStore; readonly clock: ManualClock } {
  const clock = new ManualClock(NOON);
  return { store: memoryStore({ maxEntries: 1000, now: clock.now }), clock };
}

const STORES: readonly [what: string, wrap: (store: LimitStore) => LimitStore][] = [
  ['a store that answers at once', (store) => store],
  ['a store that answers by promises', late],
];

describe.each(STORES)('limit over %s', (_, wrap) => {
  it('admits exactly five of 200 parallel requests at limit 5', async () => {
    const { store } = setup();
    // Guards before it take different times.
    const hops = (n: number): Guard =>
      async function waits() {
        for (let i = 0; i < n; i++) await Promise.resolve();
        if (n % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
        return undefined;
      };
    const guard = limit({ store: wrap(store), by: 'client-ip', policies: [perMinute(5)] });
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, i) => status([hops(i % 7), guard, hops((i * 3) % 5)])),
    );
    expect(answers.filter((status) => status === 200)).toHaveLength(5);
    expect(answers.filter((status) => status === 429)).toHaveLength(195);
  });

  it('does not charge the first policy for 100 requests that the second one refuses', async () => {
    const { store } = setup();
    const guard = limit({ store: wrap(store), by: 'client-ip', policies: [perMinute(50), dailyQuota({ limit: 1 })] });
    expect(await status(guard)).toBe(200);
    for (let i = 0; i < 100; i++) expect(await status(guard)).toBe(429);
    expect(await guard.peek('192.0.2.1')).toMatchObject([
      { name: '60s', remaining: 49 },
      { name: 'daily', remaining: 0 },
    ]);
  });

  it('writes what was admitted to the exchange', async () => {
    const guard = limit({ store: wrap(setup().store), by: 'client-ip', policies: [perMinute(5)], cost: 2 });
    const { exchange } = await send(guard);
    expect(exchange.admission?.quotas).toEqual([{ name: '60s', limit: 5, remaining: 3, resetAt: NOON + 60_000 }]);
  });

  it('refuses with a problem that names the violated policies and when the request could pass', async () => {
    const { store } = setup();
    const policies = [perMinute(2), slidingWindow({ limit: 2, window: '1h' }), dailyQuota({ limit: 9 })];
    const guard = limit({ store: wrap(store), by: 'client-ip', policies, cost: 2 });
    await send(guard);
    const { reply, exchange, faults } = await send(guard);
    expect(reply).toMatchObject({
      status: 429,
      headers: [['Retry-After', '3600']],
      problem: {
        type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
        title: 'Too Many Requests',
        status: 429,
        detail: 'The request exceeds a quota.',
        code: 'quota-exceeded',
        'violated-policies': ['60s', '3600s'],
        policies: [
          { name: '60s', limit: 2, remaining: 0, resetAt: NOON + 60_000 },
          { name: '3600s', limit: 2, remaining: 0, resetAt: NOON + HOUR },
        ],
        limit: 2,
        remaining: 0,
        resetAt: NOON + HOUR,
        retryAt: NOON + HOUR,
      },
    });
    expect(exchange.admission).toBeUndefined();
    expect(faults).toEqual([]);
  });

  it('peeks at and resets only the policies that are counted by its own "by"', async () => {
    const { store } = setup();
    const all = slidingWindow({ limit: 10, window: '1h', by: 'global' });
    const guard = limit({ store: wrap(store), by: 'client-ip', policies: [perMinute(2), all] });
    await send(guard);
    await send(guard);
    expect(await guard.peek('192.0.2.1')).toEqual([{ name: '60s', limit: 2, remaining: 0, resetAt: NOON + 60_000 }]);
    expect(await guard.peek('192.0.2.9')).toEqual([{ name: '60s', limit: 2, remaining: 2, resetAt: NOON }]);
    await guard.reset('192.0.2.1');
    const { headers } = await send(guard);
    expect(headers.get('RateLimit')).toBe('"60s";r=1;t=60, "3600s";r=7;t=3600');
  });
});

describe('limit counts', () => {
  const ALICE = { ip: '192.0.2.1', principal: 'alice' };
  const ALICE_ELSEWHERE = { ip: '192.0.2.2', principal: 'alice' };
  const BOB_AT_HER_ADDRESS = { ip: '192.0.2.1', principal: 'bob' };

  it.each([
    ['client-ip', [200, 200, 429]],
    ['principal', [200, 429, 200]],
    ['global', [200, 429, 429]],
  ] as const)('by %s', async (by, expected) => {
    const guard = limit({ store: setup().store, by, policies: [perMinute(1)] });
    const answers = [];
    for (const caller of [ALICE, ALICE_ELSEWHERE, BOB_AT_HER_ADDRESS]) answers.push(await status(guard, caller));
    expect(answers).toEqual(expected);
  });

  it('by the key that a function returns', async () => {
    const guard = limit({
      store: setup().store,
      by: ({ clientIp, principal }) => `${principal?.id} at ${clientIp?.key}`,
      policies: [perMinute(1)],
    });
    expect(await status(guard, ALICE)).toBe(200);
    expect(await status(guard, ALICE_ELSEWHERE)).toBe(200);
    expect(await status(guard, ALICE)).toBe(429);
  });

  it('by the principal, not by the credential it used', async () => {
    const guard = limit({ store: setup().store, by: 'principal', policies: [perMinute(1)] });
    expect(await status(guard, { principal: 'alice', credentialId: 'old' })).toBe(200);
    expect(await status(guard, { principal: 'alice', credentialId: 'new' })).toBe(429);
  });

  it('each policy by its own "by", if it has one', async () => {
    const guard = limit({
      store: setup().store,
      by: 'client-ip',
      policies: [perMinute(2), slidingWindow({ limit: 3, window: '1h', by: 'principal' })],
    });
    expect(await status(guard, ALICE)).toBe(200);
    expect(await status(guard, ALICE)).toBe(200);
    expect(await status(guard, ALICE_ELSEWHERE)).toBe(200);
    expect(await status(guard, { ip: '192.0.2.3', principal: 'alice' })).toBe(429);
    expect(await status(guard, BOB_AT_HER_ADDRESS)).toBe(429);
    expect(await status(guard, { ip: '192.0.2.3', principal: 'bob' })).toBe(200);
  });

  it('an address, a principal and a function’s key of the same text separately', async () => {
    const { store } = setup();
    const byIp = limit({ store, by: 'client-ip', policies: [perMinute(1)] });
    const byPrincipal = limit({ store, by: 'principal', policies: [perMinute(1)] });
    const byAll = limit({ store, by: 'global', policies: [perMinute(1)] });
    const byFunction = limit({ store, by: () => 'global', policies: [perMinute(1)] });
    const caller = { ip: 'global', principal: 'global' };
    const statuses: number[] = [];
    for (const guard of [byIp, byPrincipal, byAll, byFunction]) statuses.push(await status(guard, caller));
    expect(statuses).toEqual([200, 200, 200, 200]);
  });

  it('a principal, and callers without one by their address', async () => {
    const { store } = setup();
    const guard = limit({ store, by: 'principal-or-client-ip', policies: [perMinute(1)] });
    const alice = { ip: '192.0.2.1', principal: 'alice' };
    expect([await status(guard, alice), await status(guard, { ...alice, ip: '192.0.2.2' })]).toEqual([200, 429]);
    expect([await status(guard, { ip: '192.0.2.1' }), await status(guard, { ip: '192.0.2.1' })]).toEqual([200, 429]);
    expect(await status(guard, { ip: '192.0.2.3' })).toBe(200);
  });

  it('a principal whose id is an address apart from that address', async () => {
    const { store } = setup();
    const guard = limit({ store, by: 'principal-or-client-ip', policies: [perMinute(1)] });
    const ids = ['192.0.2.1', 'client-ip:192.0.2.1', 'principal:192.0.2.1'];
    const callers: Caller[] = [{ ip: '192.0.2.1' }, ...ids.map((principal) => ({ ip: '192.0.2.9', principal }))];
    const statuses: number[] = [];
    for (const caller of [...callers, ...callers]) statuses.push(await status(guard, caller));
    expect(statuses).toEqual([200, 200, 200, 200, 429, 429, 429, 429]);
  });

  it('a principal or an address under the key that peek and reset are given', async () => {
    const { store } = setup();
    const guard = limit({ store, by: 'principal-or-client-ip', policies: [perMinute(3)] });
    await send(guard, { ip: '192.0.2.1', principal: 'alice' });
    await send(guard, { ip: '192.0.2.1', principal: 'alice' });
    await send(guard, { ip: '192.0.2.1' });
    const remaining = async (key: string) => (await guard.peek(key))[0]?.remaining;
    expect([await remaining('principal:alice'), await remaining('client-ip:192.0.2.1')]).toEqual([1, 2]);
    await guard.reset('principal:alice');
    expect([await remaining('principal:alice'), await remaining('client-ip:192.0.2.1')]).toEqual([3, 2]);
  });

  it('two guards together if they share a policy and a store', async () => {
    const { store } = setup();
    const first = limit({ store, by: 'client-ip', policies: [perMinute(2)] });
    const second = limit({ store, by: 'client-ip', policies: [perMinute(2)] });
    expect([await status(first), await status(second), await status(first)]).toEqual([200, 200, 429]);
  });

  it('long keys separately, and stores none of them', async () => {
    const { store } = setup();
    const keys: string[] = [];
    const recording: LimitStore = {
      ...late(store),
      admit: (policies, given, units) => {
        keys.push(...given);
        return store.admit(policies, given, units);
      },
    };
    let key = '';
    const guard = limit({ store: recording, by: () => key, policies: [perMinute(1)] });
    for (const last of ['x', 'y']) {
      key = 'x'.repeat(9_999) + last;
      expect(await status(guard)).toBe(200);
      expect(await status(guard)).toBe(429);
      expect(await guard.peek(key)).toMatchObject([{ remaining: 0 }]);
    }
    for (const stored of keys) expect(stored.length).toBeLessThanOrEqual(135);
    await guard.reset(key);
    expect(await status(guard)).toBe(200);
  });

  it('a long key apart from a short one that imitates its digest', async () => {
    const { store } = setup();
    const stored: string[] = [];
    const recording: LimitStore = {
      ...late(store),
      admit: (policies, given, units) => {
        stored.push(...given);
        return store.admit(policies, given, units);
      },
    };
    let key = 'victim'.repeat(100);
    const guard = limit({ store: recording, by: () => key, policies: [perMinute(1)] });
    expect(await status(guard)).toBe(200);
    for (const guess of [stored[0] ?? '', (stored[0] ?? '').replace('sha512:', ''), hash('sha256', key, 'hex')]) {
      key = guess;
      expect(await status(guard)).toBe(200);
    }
  });
});

describe('limit, run twice for one request,', () => {
  it('charges twice, and reports that once', async () => {
    const { store } = setup();
    const guard = limit({ store, by: 'client-ip', policies: [perMinute(5)] });
    const other = limit({
      store,
      by: 'principal',
      policies: [slidingWindow({ limit: 9, window: '1m', name: 'others' })],
    });
    // As in two guard(...) calls of a route, which no check of one sequence sees.
    const again: Guard = (exchange) => guard(exchange);
    const first = await send([guard, other, again]);
    expect(first.exchange.admission?.quotas[0]?.remaining).toBe(3);
    expect(first.faults).toEqual([
      expect.objectContaining({ message: expect.stringContaining('ran twice for one request') }),
    ]);
    expect((await send([guard, again])).faults).toEqual([]);
    expect(await status([guard, again])).toBe(429);
  });

  it('reports no fault for different guards that are alike', async () => {
    const { store } = setup();
    const alike = () => limit({ store, by: 'client-ip', policies: [perMinute(5)] });
    expect((await send([alike(), alike(), alike()])).faults).toEqual([]);
  });
});

describe('limit does not pass a request without a key', () => {
  const PRINCIPAL_FAULT =
    'gatewarden: limit counts by principal, but there is no principal; put authenticate(...) before limit, without "optional", ' +
    "or count by 'principal-or-client-ip'";
  const ADDRESS_FAULT = 'gatewarden: limit cannot count by the socket\'s address: "localhost" is not an IP address';

  it.each([
    ['counts by principal and no guard has authenticated', {}, PRINCIPAL_FAULT],
    ['counts by the address of a socket whose address is not one', { remoteAddress: 'localhost' }, ADDRESS_FAULT],
  ] as const)('if it %s', async (_what, options, message) => {
    const { store } = setup();
    const by = 'remoteAddress' in options ? 'client-ip' : 'principal';
    const { exchange, faults, headers } = testExchange(options);
    const reply = await sequence(limit({ store, by, policies: perMinute(5) }))(exchange);
    expect(reply).toMatchObject({ status: 500, problem: { code: 'internal-error' } });
    expect(faults).toEqual([new Error(message)]);
    expect(headers.all()).toEqual({});
    expect(store.size).toBe(0);
  });

  it('if the connection is closed and its address is lost', async () => {
    const { store } = setup();
    const { exchange } = testExchange({ remoteAddress: undefined });
    exchange.abort();
    expect(() => limit({ store, by: 'client-ip', policies: perMinute(5) })(exchange)).toThrow(
      'the connection is closed',
    );
    expect(store.size).toBe(0);
  });

  it.each(['', undefined, null, 0, 42, {}, Promise.resolve('key')])('if the function returns %o', async (key) => {
    const { store } = setup();
    const all = slidingWindow({ limit: 1, window: '1h', by: 'global' });
    const guard = limit({ store, by: () => key as string, policies: [perMinute(5), all] });
    const { reply, faults } = await send(guard);
    expect(reply?.status).toBe(500);
    expect(faults).toEqual([
      new TypeError('gatewarden: limit needs a non-empty string as partition key; check what "by" returns'),
    ]);
    expect(store.size).toBe(0);
  });

  it('if the function throws', async () => {
    const outage = new Error('no database');
    const by = () => {
      throw outage;
    };
    const { reply, faults } = await send(limit({ store: setup().store, by, policies: [perMinute(5)] }));
    expect(reply?.status).toBe(500);
    expect(faults).toEqual([outage]);
  });

  it.each(['', undefined])('and throws from peek and reset for %o', (key) => {
    const guard = limit({ store: setup().store, by: 'principal', policies: [perMinute(5)] });
    expect(() => guard.peek(key as string)).toThrow(TypeError);
    expect(() => guard.reset(key as string)).toThrow(TypeError);
  });
});

describe('limit charges a cost', () => {
  it('that is fixed', async () => {
    const guard = limit({ store: setup().store, by: 'global', policies: [perMinute(10)], cost: 4 });
    expect([await status(guard), await status(guard), await status(guard)]).toEqual([200, 200, 429]);
    expect(await guard.peek('global')).toMatchObject([{ remaining: 2 }]);
  });

  it('that a function returns', async () => {
    const cost = ({ clientIp }: TestExchange['exchange']) => Number(clientIp?.key);
    const guard = limit({ store: setup().store, by: 'global', policies: [perMinute(10)], cost });
    expect(await status(guard, { ip: '7' })).toBe(200);
    expect(await status(guard, { ip: '4' })).toBe(429);
    expect(await status(guard, { ip: '3' })).toBe(200);
  });

  it.each<[what: string, cost: () => unknown]>([
    ['a promise', () => Promise.resolve(1)],
    ['a promise that rejects', () => Promise.reject(new Error('late'))],
  ])('but not %s, and says what to do', async (_, cost) => {
    const { store } = setup();
    const guard = limit({ store, by: 'global', policies: [perMinute(10)], cost: cost as () => number });
    const { reply, faults } = await send(guard);
    expect(reply?.status).toBe(500);
    expect(faults).toEqual([
      new OptionError(
        'gatewarden: limit "cost" must be a positive integer, got a promise; it must return at once, so wait for the ' +
          'value in a guard before limit',
      ),
    ]);
    expect(store.size).toBe(0);
  });

  it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '1', undefined, Promise.resolve(1)])(
    'but not one of %o, which is a fault',
    async (cost) => {
      const { store } = setup();
      const guard = limit({ store, by: 'global', policies: [perMinute(10)], cost: () => cost as number });
      const { reply, faults } = await send(guard);
      expect(reply).toMatchObject({ status: 500, problem: { code: 'internal-error' } });
      expect(faults[0]).toBeInstanceOf(OptionError);
      expect(String(faults[0])).toContain('gatewarden: limit "cost" must be a positive integer, got ');
      expect(store.size).toBe(0);
    },
  );

  it('above a limit never, and refuses without a time to retry', async () => {
    const guard = limit({ store: setup().store, by: 'global', policies: [perMinute(10)], cost: 11 });
    const { reply } = await send(guard);
    expect(reply?.status).toBe(429);
    expect(reply?.headers).toEqual([]);
    expect(reply?.problem).toMatchObject({ limit: 10, remaining: 10, retryAt: null });
  });

  it('above a limit never, which is reported at the start', () => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    onTestFinished(() => warned.mockRestore());
    const tight = slidingWindow({ limit: 10, window: '1m', name: 'tight' });
    limit({ store: setup().store, by: 'global', policies: [perMinute(11), tight], cost: 11 });
    expect(warned.mock.calls).toEqual([
      [
        'limit: each request costs 11 units of "tight", more than its limit of 10: all are refused',
        { code: 'GATEWARDEN_COST_ABOVE_LIMIT' },
      ],
    ]);
  });

  it('above one of two limits never, and refuses without a time to retry although the other has one', async () => {
    const policies = [perMinute(10), dailyQuota({ limit: 20 })];
    const guard = limit({
      store: setup().store,
      by: 'global',
      policies,
      cost: ({ clientIp }) => Number(clientIp?.key),
    });
    await send(guard, { ip: '10' });
    const { reply } = await send(guard, { ip: '11' });
    expect(reply?.headers).toEqual([]);
    expect(reply?.problem).toMatchObject({ 'violated-policies': ['60s', 'daily'], limit: 10, retryAt: null });
  });
});

describe('limit sends', () => {
  it('its policies and what remains of each', async () => {
    const policies = [perMinute(5), dailyQuota({ limit: 100, name: 'free-plan' })];
    const { headers } = await send(limit({ store: setup().store, by: 'client-ip', policies }));
    expect(headers.all()).toEqual({
      'RateLimit-Policy': '"60s";q=5;w=60, "free-plan";q=100;w=86400',
      RateLimit: '"60s";r=4;t=60, "free-plan";r=99;t=43200',
    });
  });

  it('the policies of both guards, if two are on a route', async () => {
    const { store } = setup();
    const byIp = limit({ store, by: 'client-ip', policies: [perMinute(5)] });
    const byPrincipal = limit({ store, by: 'principal', policies: [dailyQuota({ limit: 9 })] });
    const { headers } = await send([byIp, byPrincipal]);
    expect(headers.all()).toEqual({
      'RateLimit-Policy': '"60s";q=5;w=60, "daily";q=9;w=86400',
      RateLimit: '"60s";r=4;t=60, "daily";r=8;t=43200',
    });
  });

  it('what remains with every refusal', async () => {
    const { store, clock } = setup();
    const guard = limit({ store, by: 'client-ip', policies: [perMinute(1), dailyQuota({ limit: 5 })] });
    await send(guard);
    clock.advance(1);
    expect((await send(guard)).headers.all()).toEqual({
      'RateLimit-Policy': '"60s";q=1;w=60, "daily";q=5;w=86400',
      RateLimit: '"60s";r=0;t=60, "daily";r=4;t=43200',
    });
  });

  it('no reset time if no unit is in use', async () => {
    const guard = limit({ store: setup().store, by: 'client-ip', policies: [perMinute(5)], cost: 6 });
    expect((await send(guard)).headers.get('RateLimit')).toBe('"60s";r=5');
  });

  it('windows with fractions of a second as whole seconds', async () => {
    const policies = [slidingWindow({ limit: 5, window: '1500ms' })];
    const { headers } = await send(limit({ store: setup().store, by: 'client-ip', policies }));
    expect(headers.get('RateLimit-Policy')).toBe('"1500ms";q=5;w=2');
    expect(headers.get('RateLimit')).toBe('"1500ms";r=4;t=2');
  });

  it.each([0, 1, 499, 500, 501, 999, 1000, 1001, 1498, 1499])(
    'a Retry-After of enough whole seconds, %i ms into a window of 1.5 s',
    async (elapsed) => {
      const { store, clock } = setup();
      const guard = limit({ store, by: 'client-ip', policies: [slidingWindow({ limit: 1, window: '1500ms' })] });
      await send(guard);
      clock.advance(elapsed);
      const { reply } = await send(guard);
      const [name, value] = reply?.headers[0] ?? [];
      expect(name).toBe('Retry-After');
      expect(value).toBe(String(Math.max(1, Math.ceil((1500 - elapsed) / 1000))));
      clock.advance(Number(value) * 1000);
      expect(await status(guard)).toBe(200);
    },
  );

  it('a Retry-After for a weighted request after which enough units have left', async () => {
    const { store, clock } = setup();
    const guard = limit({
      store,
      by: 'global',
      policies: [perMinute(4)],
      cost: ({ clientIp }) => Number(clientIp?.key),
    });
    for (const ip of ['1', '2', '1']) {
      await send(guard, { ip });
      clock.advance(10_000);
    }
    const { reply } = await send(guard, { ip: '3' });
    expect(reply?.headers).toEqual([['Retry-After', '40']]);
    clock.advance(39_999);
    expect(await status(guard, { ip: '3' })).toBe(429);
    clock.advance(1);
    expect(await status(guard, { ip: '3' })).toBe(200);
  });

  it('a Retry-After of midnight if a daily quota is used up', async () => {
    const { store, clock } = setup();
    const guard = limit({ store, by: 'client-ip', policies: [dailyQuota({ limit: 1, timeZone: 'Europe/Berlin' })] });
    await send(guard);
    const { reply } = await send(guard);
    expect(reply?.headers).toEqual([['Retry-After', String(10 * 3600)]]);
    clock.advance(10 * HOUR);
    expect(await status(guard)).toBe(200);
  });

  it('no X-RateLimit headers by default', async () => {
    const { headers } = await send(limit({ store: setup().store, by: 'client-ip', policies: [perMinute(5)] }));
    expect(Object.keys(headers.all())).toEqual(['RateLimit-Policy', 'RateLimit']);
  });

  it('X-RateLimit headers of the policy with the least left, or of the one that holds a refusal longest', async () => {
    const { store, clock } = setup();
    clock.set(NOON + 1);
    const policies = [perMinute(2), dailyQuota({ limit: 9 }), slidingWindow({ limit: 2, window: '1h' })];
    const guard = limit({ store, by: 'client-ip', policies, legacyHeaders: true });
    const legacy = async () => {
      const { headers } = await send(guard);
      return ['Limit', 'Remaining', 'Reset'].map((name) => headers.get(`X-RateLimit-${name}`));
    };
    expect(await legacy()).toEqual(['2', '1', String(NOON / 1000 + 61)]);
    expect(await legacy()).toEqual(['2', '0', String(NOON / 1000 + 61)]);
    expect(await legacy()).toEqual(['2', '0', String(NOON / 1000 + 3601)]);
  });
});

describe('limit over a store whose clock is ahead', () => {
  it.each([0, -1, -10_000])(
    'sends a Retry-After of one second if the request could pass %i ms from now',
    async (after) => {
      const state = { name: '60s', limit: 1, remaining: 0, resetAt: NOON + after };
      const admit = (): Decision => ({
        kind: 'refused',
        at: NOON,
        states: [state],
        violations: [{ state, retryAt: NOON + after }],
      });
      const guard = limit({ store: { ...late(setup().store), admit }, by: 'global', policies: [perMinute(1)] });
      const { reply, headers } = await send(guard);
      expect([reply?.headers, headers.get('RateLimit')]).toEqual([[['Retry-After', '1']], '"60s";r=0']);
    },
  );
});

describe('limit skips', () => {
  const guardThat = (skip: unknown, store = setup().store) =>
    limit({ store, by: 'client-ip', policies: [perMinute(1)], skip: skip as () => boolean });

  it('requests for which "skip" returns true: they are not charged and have no header', async () => {
    const { store } = setup();
    const guard = guardThat(({ request }: Exchange) => request.method === 'HEAD', store);
    const monitor = testExchange({ method: 'HEAD' });
    for (let i = 0; i < 5; i++) expect(await guard(monitor.exchange)).toBeUndefined();
    expect(monitor.headers.all()).toEqual({});
    expect(monitor.exchange.admission).toBeUndefined();
    expect(store.size).toBe(0);
    expect([await status(guard), await status(guard)]).toEqual([200, 429]);
  });

  it('before it needs a key, a cost or policies', async () => {
    const never = () => {
      throw new Error('called');
    };
    const guard = limit({ by: never, policies: never, cost: never, skip: () => true });
    expect(await status(guard, {})).toBe(200);
  });

  it.each([false, undefined])('no request for which it returns %o', async (skip) => {
    const guard = guardThat(() => skip);
    expect([await status(guard), await status(guard)]).toEqual([200, 429]);
  });

  it.each([
    ['a promise', async () => true, 'got a promise; it must return at once'],
    ['a promise that rejects', () => Promise.reject(new Error('late')), 'got a promise; it must return at once'],
    ['a number', () => 1, 'got 1'],
    ['a text', () => 'no', "got 'no'"],
    ['null', () => null, 'got null'],
    ['an object', () => ({}), 'got [Object]'],
  ])('no request for which it returns %s: that is a fault', async (_, skip, shown) => {
    const { store } = setup();
    const { reply, faults } = await send(guardThat(skip, store));
    expect(reply).toMatchObject({ status: 500, problem: { code: 'internal-error' } });
    expect(faults).toEqual([
      expect.objectContaining({ message: expect.stringContaining('limit "skip" must return true or false, ') }),
    ]);
    expect(String(faults[0])).toContain(shown);
    expect(store.size).toBe(0);
  });

  it('no request if it throws', async () => {
    const guard = guardThat(() => {
      throw new Error('broken');
    });
    expect(await status(guard)).toBe(500);
  });
});

describe('limits that share a count by accident', () => {
  const login = (store: MemoryStore, options: object = {}) =>
    limit({ store, by: 'client-ip', policies: slidingWindow({ limit: 3, window: '1m', ...options }) });
  const global = (store: MemoryStore) => limit({ store, by: 'client-ip', policies: perMinute(5) });
  const REMEDY = 'set "name" on one of the policies to count them apart';

  /** The warnings of gatewarden while `act` ran. */
  async function warningsOf(act: () => unknown): Promise<readonly string[]> {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    try {
      await act();
      return warned.mock.calls.map(([message, options]) => {
        expect(options).toEqual({ code: 'GATEWARDEN_SHARED_COUNT' });
        return String(message);
      });
    } finally {
      warned.mockRestore();
    }
  }

  it('are reported when the second one is made, once for each store, and name both', async () => {
    const { store } = setup();
    expect(
      await warningsOf(async () => {
        const both = [global(store), login(store)];
        login(store);
        for (let i = 0; i < 5; i++) await send(both);
      }),
    ).toEqual([
      'limit: the policy "60s" of 5 units by client-ip and the policy "60s" of 3 units by client-ip share one count in ' +
        `one store; ${REMEDY}`,
    ]);
    expect(await warningsOf(() => [global(setup().store), login(setup().store)])).toEqual([]);
  });

  it('are reported when one request is charged twice, also if their limits are equal or come from functions', async () => {
    for (const policies of [perMinute(5), () => perMinute(5)]) {
      const { store } = setup();
      const alike = () => limit({ store, by: 'client-ip', policies });
      const [first, second] = [alike(), alike()];
      expect(
        await warningsOf(async () => {
          await send(first);
          await send(second);
        }),
      ).toEqual([]);
      expect(
        await warningsOf(async () => {
          for (let i = 0; i < 3; i++) await send([first, login(setup().store), second]);
        }),
      ).toEqual([
        'limit: a request passed the policy "60s" of 5 units by client-ip and the policy "60s" of 5 units by client-ip ' +
          `and was charged twice in one counter; ${REMEDY}`,
      ]);
    }
  });

  it.each<[what: string, second: (store: MemoryStore) => Guard]>([
    ['have different names', (store) => login(store, { name: 'login' })],
    ['have different windows', (store) => login(store, { window: '2m' })],
    ['are counted by different things', (store) => login(store, { by: 'global' })],
    ['are counted by different functions', (store) => login(store, { by: () => 'other' })],
    ['have stores of their own', () => login(setup().store)],
  ])('are not reported if they %s', async (_, second) => {
    const { store } = setup();
    expect(
      await warningsOf(async () => {
        await send([global(store), limit({ store, by: () => 'one', policies: perMinute(9) }), second(store)]);
      }),
    ).toEqual([]);
  });

  it('are not reported for routes that share one limit on purpose', async () => {
    const { store } = setup();
    expect(await warningsOf(async () => void (await Promise.all([send(global(store)), send(global(store))])))).toEqual(
      [],
    );
  });
});

describe('limit refunds the charge', () => {
  const refused = (status: number): Outcome => ({ kind: 'refused', status, code: undefined });
  const completed = (status: number): Outcome => ({ kind: 'completed', status });
  const aborted: Outcome = { kind: 'aborted' };

  it.each<[outcome: Outcome, refundOn: readonly RefundCause[] | undefined, left: number]>([
    [refused(401), undefined, 10],
    [refused(503), undefined, 10],
    [completed(500), undefined, 10],
    [completed(503), undefined, 10],
    [completed(599), undefined, 10],
    [completed(200), undefined, 7],
    [completed(304), undefined, 7],
    [completed(400), undefined, 7],
    [completed(404), undefined, 7],
    [completed(499), undefined, 7],
    [aborted, undefined, 7],
    [refused(401), [], 7],
    [completed(500), [], 7],
    [aborted, [], 7],
    [refused(401), ['refused'], 10],
    [completed(500), ['refused'], 7],
    [refused(401), ['server-error'], 7],
    [completed(500), ['server-error'], 10],
    [refused(401), ['aborted'], 7],
    [completed(500), ['aborted'], 7],
    [aborted, ['aborted'], 10],
    [completed(200), ['refused', 'server-error', 'aborted'], 7],
  ])('or keeps it: %o with refundOn %o leaves %i of 10', async (outcome, refundOn, left) => {
    const { store } = setup();
    const options: LimitOptions = { store, by: 'global', policies: [perMinute(10)], cost: 3 };
    const guard = limit(refundOn === undefined ? options : { ...options, refundOn });
    const { exchange } = await send(guard);
    expect(await guard.peek('global')).toMatchObject([{ remaining: 7 }]);
    exchange.end(outcome);
    expect(await guard.peek('global')).toMatchObject([{ remaining: left }]);
  });

  it.each<[outcome: Outcome, refundOn: readonly RefundCause[] | undefined, left: number]>([
    [refused(422), undefined, 7],
    [refused(401), ['refused'], 7],
    [refused(422), ['refused-after-body'], 10],
    [refused(500), undefined, 10],
    [refused(503), ['refused-after-body'], 7],
    [refused(503), ['server-error'], 10],
    [completed(500), undefined, 10],
    [completed(200), ['refused', 'refused-after-body', 'server-error', 'aborted'], 7],
    [aborted, ['refused-after-body'], 7],
  ])('or keeps it, if the body was read: %o with refundOn %o leaves %i of 10', async (outcome, refundOn, left) => {
    const guard = limit({ store: setup().store, by: 'global', policies: [perMinute(10)], cost: 3, refundOn });
    const { exchange } = await send(guard);
    Object.assign(exchange.request, { bodyWasRead: true });
    exchange.end(outcome);
    expect(await guard.peek('global')).toMatchObject([{ remaining: left }]);
  });

  it('at most twice in each window, whatever provoked it', async () => {
    const { store, clock } = setup();
    const guard = limit({ store, by: 'client-ip', policies: [perMinute(3), dailyQuota({ limit: 5 })] });
    let entered = 0;
    for (let i = 0; i < 40; i++) {
      const { reply, exchange } = await send(guard);
      if (reply === undefined) entered++;
      exchange.end(i % 2 === 0 ? completed(500) : refused(400));
    }
    expect(entered).toBe(6);
    clock.advance(60_000);
    for (let i = 0; i < 40; i++) {
      const { reply, exchange } = await send(guard);
      if (reply === undefined) entered++;
      exchange.end(completed(500));
    }
    expect(entered).toBe(10);
  });

  it('of every limit on the route if a later guard refuses', async () => {
    const { store } = setup();
    const byIp = limit({ store, by: 'client-ip', policies: [perMinute(5)] });
    const byPrincipal = limit({ store, by: 'principal', policies: [dailyQuota({ limit: 5 })] });
    const unready: Guard = () => refuse(problem('store-unavailable'));
    const { exchange, reply } = await send([byIp, byPrincipal, unready]);
    expect(reply?.status).toBe(503);
    exchange.end(refused(503));
    expect(await byIp.peek('192.0.2.1')).toMatchObject([{ remaining: 5 }]);
    expect(await byPrincipal.peek('alice')).toMatchObject([{ remaining: 5 }]);
  });

  it('of the first limit if the second one refuses', async () => {
    const { store } = setup();
    const first = limit({ store, by: 'client-ip', policies: [perMinute(5)] });
    const second = limit({ store, by: 'global', policies: [dailyQuota({ limit: 1 })] });
    await send([first, second]);
    const { exchange, reply } = await send([first, second]);
    expect(reply?.status).toBe(429);
    exchange.end(refused(429));
    expect(await first.peek('192.0.2.1')).toMatchObject([{ remaining: 4 }]);
    expect(await second.peek('global')).toMatchObject([{ remaining: 0 }]);
  });

  it('not if the handler has settled it', async () => {
    const guard = limit({ store: setup().store, by: 'global', policies: [perMinute(10)], cost: 3 });
    const { exchange } = await send(guard);
    await exchange.admission?.settle(5);
    exchange.end(completed(500));
    expect(await guard.peek('global')).toMatchObject([{ remaining: 5 }]);
  });

  it('once, and ignores what the handler settles after the end', async () => {
    const guard = limit({ store: setup().store, by: 'global', policies: [perMinute(10)], cost: 3 });
    const { exchange } = await send(guard);
    exchange.end(completed(500));
    exchange.end(completed(500));
    await exchange.admission?.settle(9);
    expect(await guard.peek('global')).toMatchObject([{ remaining: 10 }]);
  });

  it.each([
    [['aborted'], 10],
    [['refused'], 7],
  ] as const)('as refundOn %o says if the client left before the store answered', async (refundOn, left) => {
    const { store } = setup();
    const guard = limit({ store: late(store), by: 'global', policies: [perMinute(10)], cost: 3, refundOn });
    const test = exchangeOf(CALLER);
    const answer = sequence(guard)(test.exchange);
    test.exchange.abort();
    await answer;
    expect(await guard.peek('global')).toMatchObject([{ remaining: left }]);
  });

  it.each(failing('gone'))('and reports a store that %s, without disturbing the response', async (_, settle) => {
    const { store } = setup();
    const guard = limit({ store: { ...late(store), settle }, by: 'global', policies: [perMinute(10)] });
    const { exchange, faults } = await send(guard);
    expect(() => exchange.end(completed(500))).not.toThrow();
    await Promise.resolve();
    expect(faults).toEqual([new Error('gone')]);
  });
});

describe('limit over a store that fails', () => {
  const outage = new Error('connection lost');

  it.each<[what: string, admit: LimitStore['admit']]>([
    [
      'throws',
      () => {
        throw outage;
      },
    ],
    ['rejects', () => Promise.reject(outage)],
  ])('answers 503 and reports the fault if it %s', async (_, admit) => {
    const { store } = setup();
    const { reply, faults, exchange, headers } = await send(
      limit({ store: { ...late(store), admit }, by: 'client-ip', policies: [perMinute(5)] }),
    );
    expect(reply).toMatchObject({
      status: 503,
      headers: [['Retry-After', '5']],
      problem: { code: 'store-unavailable', status: 503 },
    });
    expect(faults).toEqual([outage]);
    expect(exchange.admission).toBeUndefined();
    expect(headers.all()).toEqual({});
  });

  it.each<[what: string, decision: unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['true', true],
    ['an empty object', {}],
    ['a decision of no kind', { at: NOON, states: [] }],
    ['an unknown kind of decision', { kind: 'denied', at: NOON, states: [] }],
    ['a refusal without a reason', { kind: 'refused', at: NOON, states: [], violations: [] }],
  ])('does not admit on %s', async (_, decision) => {
    const { store } = setup();
    for (const admit of [() => decision as Decision, async () => decision as Decision]) {
      const { reply, faults, exchange } = await send(
        limit({ store: { ...late(store), admit }, by: 'client-ip', policies: [perMinute(5)] }),
      );
      expect(reply?.status).toBe(500);
      expect(faults).toHaveLength(1);
      expect(exchange.admission).toBeUndefined();
    }
  });
});

describe('limit refuses the options', () => {
  const { store } = setup();
  const policies = [perMinute(5)];
  const COST_RULE = '"cost" must be a positive integer';
  const BY_RULE =
    "must be 'client-ip', 'principal', 'principal-or-client-ip', 'global' or a function that returns a key";
  const BY_REMEDY =
    "use 'client-ip' (the usual choice), 'principal', 'principal-or-client-ip', 'global' or a function that returns a key";
  const LIST_RULE = '"policies" must be a policy or a list of at least one';
  const POLICY_REMEDY = 'make one with slidingWindow(...), dailyQuota(...), concurrency(...) or gpuTime(...)';
  const POLICY_RULE =
    '"policies" must be made by slidingWindow(...), dailyQuota(...), concurrency(...) or gpuTime(...)';

  it.each<[options: unknown, message: string]>([
    [undefined, 'takes an object of options: limit({ ... })'],
    [[], 'takes an object of options: limit({ ... })'],
    [
      { store, by: 'global', policies, costs: 1 },
      'has no option "costs". Did you mean "cost"? It takes by, policies, store, cost, skip, refundOn, headers, legacyHeaders, capacityStatus, queue, enforce, onDecision',
    ],
    [{ store: null, by: 'global', policies }, '"store" must be a store such as memoryStore(), got null'],
    [{ store: {}, by: 'global', policies }, '"store" must be a store such as memoryStore(), got [Object]'],
    [{ store, by: 'ip', policies }, `"by" ${BY_RULE}, got 'ip'`],
    [{ store, by: null, policies }, `"by" ${BY_RULE}, got null`],
    [{ store, policies }, `"by" must be given, since policy "60s" has no "by" of its own; ${BY_REMEDY}`],
    [{ store, by: 'global' }, `${LIST_RULE}, got undefined; ${POLICY_REMEDY}`],
    [{ store, by: 'global', policies: [] }, `${LIST_RULE}, got []; ${POLICY_REMEDY}`],
    [{ store, by: 'global', policies: 'daily' }, `${LIST_RULE}, got 'daily'; ${POLICY_REMEDY}`],
    [{ store, by: 'global', policies: [undefined] }, `${POLICY_RULE}, got undefined`],
    [{ store, by: 'global', policies: [null] }, `${POLICY_RULE}, got null`],
    [{ store, by: 'global', policies: [{ limit: 5 }] }, `${POLICY_RULE}, got [Object]`],
    [
      { store, by: 'global', policies: [perMinute(5), perMinute(9)] },
      '"policies" must have different names, got [ \'60s\', \'60s\' ]; set "name" on one of them',
    ],
    [{ store, by: 'global', policies, cost: 0 }, `${COST_RULE}, got 0`],
    [{ store, by: 'global', policies, cost: -1 }, `${COST_RULE}, got -1`],
    [{ store, by: 'global', policies, cost: 1.5 }, `${COST_RULE}, got 1.5`],
    [{ store, by: 'global', policies, cost: Number.NaN }, `${COST_RULE}, got NaN`],
    [{ store, by: 'global', policies, cost: '2' }, `${COST_RULE}, got '2'`],
    [{ store, by: 'global', policies, cost: null }, `${COST_RULE}, got null`],
    [
      { store, by: 'global', policies, refundOn: 'refused' },
      '"refundOn" must be a list of refused, refused-after-body, server-error, aborted, got \'refused\'',
    ],
    [
      { store, by: 'global', policies, refundOn: ['5xx'] },
      '"refundOn" must be a list of refused, refused-after-body, server-error, aborted, got [ \'5xx\' ]',
    ],
    [{ store, by: 'global', policies, skip: true }, '"skip" must be a function, got true'],
    [{ store, by: 'global', policies, legacyHeaders: 1 }, '"legacyHeaders" must be true or false, got 1'],
    [{ store, by: 'global', policies, legacyHeaders: null }, '"legacyHeaders" must be true or false, got null'],
  ])('%#: %o', (options, message) => {
    expect(() => limit(options as LimitOptions)).toThrow(new OptionError(`gatewarden: limit ${message}`));
  });

  it.each(['admit', 'settle', 'peek', 'reset'])('with a store that has no %s', (verb) => {
    const options = { store: { ...late(store), [verb]: undefined }, by: 'global', policies } as unknown as LimitOptions;
    expect(() => limit(options)).toThrow('"store" must be a store');
  });

  it('with no "by" only if a policy has none of its own', async () => {
    const guard = limit({ store, policies: [slidingWindow({ limit: 1, window: '1m', by: 'principal' })] });
    expect(await status(guard)).toBe(200);
    expect(await status(guard)).toBe(429);
  });

  it('at construction, and ignores changes afterwards', async () => {
    const list = [perMinute(1)];
    const refundOn: RefundCause[] = [];
    const guard = limit({ store: setup().store, by: 'global', policies: list, refundOn });
    list.pop();
    refundOn.push('server-error');
    const { exchange } = await send(guard);
    exchange.end({ kind: 'completed', status: 500 });
    expect(await status(guard)).toBe(429);
  });
});

describe('limit, called with values that its types forbid,', () => {
  const window = slidingWindow({ limit: 1, window: '1m' });

  it.each([
    ['a limit that is NaN', { ...window, limit: Number.NaN }, 'slidingWindow "limit"'],
    ['no limit', { ...window, limit: undefined }, 'slidingWindow "limit"'],
    ['a day without a limit', { ...dailyQuota({ limit: 1 }), limit: Number.NaN }, 'dailyQuota "limit"'],
    ['no window', { ...window, window: undefined }, 'slidingWindow "window"'],
    ['an unknown time zone', { ...dailyQuota({ limit: 1 }), timeZone: 'Mars' }, 'dailyQuota "timeZone"'],
  ])('refuses a policy with %s at construction', (_, policy, message) => {
    const make = () => limit({ store: memoryStore(), by: 'global', policies: [policy as QuotaPolicy] });
    expect(make).toThrow(message);
  });

  it('admits nothing in a memory store under a limit of NaN', () => {
    const store = memoryStore();
    expect(store.admit([{ ...window, limit: Number.NaN }], ['key'], [1]).kind).toBe('refused');
  });

  it('does not show the content of an object passed as a store', () => {
    const store = { options: { password: 'hunter2' } } as unknown as LimitStore;
    expect(() => limit({ store, by: 'global', policies: [window] })).toThrow('got [Object]');
  });

  it.each(['by', 'cost'] as const)('survives an asynchronous "%s" and answers 500', async (option) => {
    const unhandled: unknown[] = [];
    const onUnhandled = (error: unknown) => unhandled.push(error);
    process.on('unhandledRejection', onUnhandled);
    try {
      const late = async () => {
        throw new Error('too late');
      };
      const options = { by: () => 'key', [option]: late } as unknown as { by: () => string };
      const guard = sequence(limit({ store: memoryStore(), policies: [window], ...options }));
      const exchange = new Exchange(
        { method: 'GET', url: '/', remoteAddress: undefined, encrypted: false, fieldLines: () => [] },
        { get: () => undefined, set: () => undefined, remove: () => undefined, onHead: () => undefined },
      );
      exchange.faultReporter = () => undefined;
      expect(await guard(exchange)).toMatchObject({ status: 500 });
      await new Promise((turn) => setImmediate(turn));
      expect(unhandled).toEqual([]);
    } finally {
      process.off('unhandledRejection', onUnhandled);
    }
  });

  it('keeps the limit with less left in the X-RateLimit headers', async () => {
    const headers = new Map<string, string>();
    const exchange = new Exchange(
      { method: 'GET', url: '/', remoteAddress: undefined, encrypted: false, fieldLines: () => [] },
      {
        get: (name) => headers.get(name),
        set: (name, value) => void headers.set(name, value),
        remove: (name) => void headers.delete(name),
        onHead: () => undefined,
      },
    );
    const one = (units: number, name: string) =>
      limit({
        store: memoryStore(),
        by: 'global',
        policies: [slidingWindow({ limit: units, window: '1m', name })],
        legacyHeaders: true,
      });
    await sequence(one(3, 'tight'), one(1000, 'wide'))(exchange);
    expect([headers.get('X-RateLimit-Limit'), headers.get('X-RateLimit-Remaining')]).toEqual(['3', '2']);
  });

  it('sets the X-RateLimit headers of the limit that refused, even if an earlier one has less left', async () => {
    const one = (units: number, cost: number) =>
      limit({ store: memoryStore(), by: 'global', policies: [perMinute(units)], cost, legacyHeaders: true });
    const { headers } = await send([one(2, 1), one(5, 6)]);
    expect([headers.get('X-RateLimit-Limit'), headers.get('X-RateLimit-Remaining')]).toEqual(['5', '5']);
  });
});

describe('policies from a function', () => {
  const GOLD = [perMinute(3)];
  const PLAIN = [perMinute(1)];
  const byPlan = (store: LimitStore) =>
    limit({
      store,
      by: 'principal',
      policies: ({ principal }) => (principal?.limits?.perMinute === 3 ? GOLD : PLAIN),
    });
  const call = async (guard: Guard, id: string, limits: Record<string, number>) => {
    const { exchange, headers } = testExchange({ principal: { ...principalNamed(id), limits } });
    const reply = await sequence(guard)(exchange);
    return { status: reply?.status ?? 200, policy: headers.get('RateLimit-Policy') };
  };

  it('set a limit for each principal', async () => {
    const guard = byPlan(setup().store);
    const statuses: number[] = [];
    for (let i = 0; i < 4; i++) statuses.push((await call(guard, 'gold', { perMinute: 3 })).status);
    expect(statuses).toEqual([200, 200, 200, 429]);
    expect(await call(guard, 'plain', {})).toEqual({ status: 200, policy: '"60s";q=1;w=60' });
    expect(await call(guard, 'plain', {})).toEqual({ status: 429, policy: '"60s";q=1;w=60' });
  });

  it('keep the count of a client whose limit changes', async () => {
    const guard = byPlan(setup().store);
    expect((await call(guard, 'a', {})).status).toBe(200);
    expect((await call(guard, 'a', {})).status).toBe(429);
    expect((await call(guard, 'a', { perMinute: 3 })).status).toBe(200);
    expect((await call(guard, 'a', { perMinute: 3 })).status).toBe(200);
    expect((await call(guard, 'a', { perMinute: 3 })).status).toBe(429);
  });

  it('are checked once if the same list is returned again', async () => {
    let reads = 0;
    const get = () => {
      reads++;
      return 5;
    };
    const policy: QuotaPolicy = Object.defineProperty({ ...perMinute(5) }, 'limit', { get });
    const list = [policy];
    const guard = limit({ store: setup().store, by: 'global', policies: () => list });
    await send(guard);
    const once = reads;
    for (let i = 0; i < 3; i++) expect((await send(guard)).reply).toBeUndefined();
    expect([once > 0, reads]).toEqual([true, once]);
  });

  it('may be new objects for every request', async () => {
    const guard = limit({ store: setup().store, by: 'global', policies: () => [perMinute(2)] });
    expect([await status(guard), await status(guard), await status(guard)]).toEqual([200, 200, 429]);
  });

  it.each<[string, () => unknown]>([
    ['nothing', () => undefined],
    ['no policy', () => []],
    ['an object written by hand', () => [{ kind: 'sliding-window', name: 'x', limit: Number.NaN, window: 1000 }]],
    ['a promise', () => Promise.reject(new Error('late'))],
    ['two of one name', () => [perMinute(1), perMinute(2)]],
  ])('are a fault, not a pass, if they are %s', async (_what, policies) => {
    const guard = limit({ store: setup().store, by: 'global', policies: policies as () => readonly QuotaPolicy[] });
    const { reply, faults } = await send(guard);
    expect([reply?.status, faults.length]).toEqual([500, 1]);
  });

  it('must be passed to peek and reset', async () => {
    const guard = byPlan(setup().store);
    await call(guard, 'gold', { perMinute: 3 });
    expect(() => guard.peek('gold')).toThrow(/which policies this key has/);
    expect(() => guard.reset('gold')).toThrow(/which policies this key has/);
    expect(guard.peek('gold', GOLD)).toMatchObject([{ limit: 3, remaining: 2 }]);
    guard.reset('gold', GOLD);
    expect(guard.peek('gold', GOLD)).toMatchObject([{ limit: 3, remaining: 3 }]);
  });
});

describe('limit in its simplest form', () => {
  it('accepts one policy in place of a list', async () => {
    const guard = limit({ store: setup().store, by: 'client-ip', policies: perMinute(1) });
    expect([await status(guard), await status(guard)]).toEqual([200, 429]);
    expect(await guard.peek('192.0.2.1')).toMatchObject([{ name: '60s', remaining: 0 }]);
  });

  it('accepts one policy from a function, and checks it once', async () => {
    let reads = 0;
    const policy: QuotaPolicy = Object.defineProperty({ ...perMinute(2) }, 'limit', {
      get: () => {
        reads++;
        return 2;
      },
    });
    const guard = limit({ store: setup().store, by: 'global', policies: () => policy });
    expect(await status(guard)).toBe(200);
    const readsOfOneCheck = reads;
    expect([await status(guard), await status(guard)]).toEqual([200, 429]);
    expect(reads).toBe(readsOfOneCheck);
    expect(await guard.peek('global', policy)).toMatchObject([{ limit: 2, remaining: 0 }]);
    await guard.reset('global', policy);
    expect(await status(guard)).toBe(200);
  });

  it('counts in a memory store of its own', async () => {
    const first = limit({ by: 'client-ip', policies: perMinute(1) });
    const second = limit({ by: 'client-ip', policies: perMinute(1) });
    expect([await status(first), await status(first), await status(second)]).toEqual([200, 429, 200]);
  });

  it.each<[store: unknown]>([[null], [{}]])('does not replace the store %o by its own', (store) => {
    expect(() => limit({ store: store as LimitStore, by: 'global', policies: perMinute(1) })).toThrow(OptionError);
  });
});
