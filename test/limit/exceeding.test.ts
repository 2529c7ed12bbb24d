import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import {
  concurrency,
  dailyQuota,
  type Exchange,
  gpuTime,
  type LimitOptions,
  type LimitStore,
  limit,
  memoryStore,
  renderReply,
  slidingWindow,
} from '../../src/index.js';
import { redisStore } from '../../src/redis.js';
import { testExchange } from '../exchange-fixture.js';
import { describeRedis } from '../redis/describe.js';
import { prefixesOf, useAnyRedis } from '../redis/suite.js';

const ALICE = { id: 'alice', scheme: 'test', scopes: [], credentialId: 'k1' };
const minute = (units: number, more = {}) => slidingWindow({ limit: units, window: '1m', name: 'minute', ...more });

function suite(newStore: () => LimitStore): void {
  let store: LimitStore;
  beforeEach(() => {
    store = newStore();
  });

  /** Sends one request. `exceeds` is what `operatorControls` sets. */
  async function send(guard: ReturnType<typeof limit>, exceeds: boolean) {
    const { exchange, headers } = testExchange({ principal: ALICE });
    exchange.exceedsQuotas = exceeds;
    const reply = await guard(exchange);
    const body = reply === undefined ? undefined : JSON.parse(renderReply(reply, exchange).body ?? '');
    return { exchange, headers: headers.all(), code: body?.code as string | undefined, body };
  }
  const byClient = (options: Partial<LimitOptions> & Pick<LimitOptions, 'policies'>) =>
    limit({ store, by: 'principal', ...options });

  it('charges a window beyond its limit and refuses nothing, until the client may no longer exceed it', async () => {
    const guard = byClient({ policies: minute(2) });
    for (let i = 0; i < 2; i++) expect((await send(guard, false)).code).toBeUndefined();
    expect((await send(guard, false)).code).toBe('quota-exceeded');
    for (let i = 0; i < 4; i++) {
      const { code, headers, exchange } = await send(guard, true);
      expect(code).toBeUndefined();
      expect(headers).toMatchObject({
        'RateLimit-Policy': '"minute";q=2;w=60',
        RateLimit: expect.stringMatching(/r=0/),
      });
      expect(exchange.admission?.quotas).toMatchObject([{ name: 'minute', limit: 2, remaining: 0 }]);
    }
    expect(await guard.peek('alice')).toMatchObject([{ limit: 2, remaining: 0 }]);
    expect((await send(guard, false)).body).toMatchObject({ code: 'quota-exceeded', limit: 2, remaining: 0 });
  });

  it('shows what is left of the true limit', async () => {
    const { exchange } = await send(byClient({ policies: minute(5) }), true);
    expect(exchange.admission?.quotas).toMatchObject([{ limit: 5, remaining: 4 }]);
  });

  it('holds more charges than a window keeps the times of', async () => {
    const guard = byClient({ policies: minute(512), headers: false });
    for (let i = 0; i < 1500; i++) expect((await send(guard, true)).code).toBeUndefined();
    expect((await send(guard, false)).code).toBe('quota-exceeded');
  });

  it('charges days and GPU time as well', async () => {
    const day = dailyQuota({ limit: 1, name: 'day' });
    const gpu = gpuTime({ limit: '1s', window: 'day', estimate: '900ms', name: 'gpu' });
    const guard = byClient({ policies: [day, gpu] });
    expect((await send(guard, false)).code).toBeUndefined();
    expect((await send(guard, false)).body['violated-policies']).toEqual(['day', 'gpu']);
    const { code, exchange } = await send(guard, true);
    expect(code).toBeUndefined();
    expect(exchange.admission?.holds).toMatchObject([{ policy: 'gpu', kind: 'gpu-time' }]);
    await exchange.admission?.settle({ gpu: 5000 });
    expect(await guard.peek('alice')).toMatchObject([
      { name: 'day', remaining: 0 },
      { name: 'gpu', limit: 1000, remaining: 0 },
    ]);
  });

  it.each([
    ['slots of the service', concurrency({ limit: 1, by: 'global' }), 'capacity-exceeded'],
    ['slots of its own', concurrency({ limit: 1 }), 'concurrency-exceeded'],
    ['a window of the whole service', minute(1, { by: 'global' }), 'quota-exceeded'],
    ['a window whose key a function returns', minute(1, { by: () => 'team' }), 'quota-exceeded'],
  ])('is still refused by %s, and then charged nothing', async (_what, policy, code) => {
    const own = slidingWindow({ limit: 3, window: '1h', name: 'own' });
    const guard = byClient({ policies: [own, policy] });
    expect((await send(guard, true)).code).toBeUndefined();
    const refused = await send(guard, true);
    expect(refused.code).toBe(code);
    expect(refused.body['violated-policies']).toEqual([policy.name]);
    const [left] = await limit({ store, by: 'principal', policies: own }).peek('alice');
    expect(left).toMatchObject({ name: 'own', remaining: 2 });
  });

  it.each([
    ['a refusal that follows', { kind: 'refused', status: 400, code: 'upload-malformed' } as const],
    ['an error of the handler', { kind: 'completed', status: 500 } as const],
  ])('gets nothing back for %s, which would have no bound', async (_what, outcome) => {
    const guard = byClient({ policies: minute(2) });
    const end = async (exchange: Exchange) => {
      exchange.end(outcome);
      await new Promise((resolve) => setImmediate(resolve));
    };
    await end((await send(guard, true)).exchange);
    expect(await guard.peek('alice')).toMatchObject([{ remaining: 1 }]);
    await end((await send(guard, false)).exchange);
    await expect.poll(async () => guard.peek('alice')).toMatchObject([{ remaining: 1 }]);
  });

  it('waits in the queue like all others', async () => {
    const slots = concurrency({ limit: 1, by: 'global' });
    const guard = byClient({ policies: [minute(1), slots], queue: { maxWait: '20s', maxWaiting: 5 } });
    const first = await send(guard, true);
    const second = testExchange({ principal: ALICE });
    second.exchange.exceedsQuotas = true;
    const waiting = guard(second.exchange);
    await expect.poll(() => second.exchange.queuePlace?.position).toBe(1);
    first.exchange.end({ kind: 'completed', status: 200 });
    expect(await waiting).toBeUndefined();
    second.exchange.end({ kind: 'completed', status: 200 });
  });

  it('reports the same guard that runs twice, once', async () => {
    const guard = byClient({ policies: minute(1) });
    const { exchange, faults } = testExchange({ principal: ALICE });
    exchange.exceedsQuotas = true;
    for (let i = 0; i < 3; i++) expect(await guard(exchange)).toBeUndefined();
    expect(faults.map(String)).toEqual([expect.stringContaining('ran twice for one request')]);
  });
}

describe('a client that may exceed its quotas, in memory,', () => {
  suite(() => memoryStore());

  it('has room for charges at more moments than a window keeps', async () => {
    let now = 1_700_000_000_000;
    const guard = limit({ store: memoryStore({ now: () => now }), by: 'principal', policies: minute(512) });
    for (let i = 0; i < 5000; i++, now++) {
      const { exchange, faults } = testExchange({ principal: ALICE });
      exchange.exceedsQuotas = true;
      expect(await guard(exchange)).toBeUndefined();
      expect(faults).toEqual([]);
    }
    expect(await guard.peek('alice')).toMatchObject([{ remaining: 0 }]);
  });
});

describeRedis(
  'a client that may exceed its quotas, in Redis,',
  () => {
    const target = useAnyRedis();
    const freshPrefix = prefixesOf('exceeding');
    const stores: { close(): void }[] = [];
    afterAll(() => {
      for (const store of stores) store.close();
    });
    suite(() => {
      const store = redisStore({ client: target.client(), prefix: freshPrefix() });
      stores.push(store);
      return store;
    });
  },
  { anyServer: true },
);
