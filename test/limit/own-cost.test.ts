import { describe, expect, it, vi } from 'vitest';
import { sequence } from '../../src/core/sequence.js';
import { type LimitOptions, limit } from '../../src/limit/limit.js';
import { memoryStore } from '../../src/limit/memory/memory-store.js';
import { dailyQuota, slidingWindow } from '../../src/limit/policy.js';
import { testExchange } from '../exchange-fixture.js';

const NOON = Date.UTC(2025, 5, 15, 12);

const requests = slidingWindow({ limit: 10, window: '1m', name: 'requests' });
const tokens = slidingWindow({ limit: 1000, window: '1m', name: 'tokens', cost: 250 });
const bytes = dailyQuota({ limit: 100, name: 'bytes', cost: ({ request }) => request.url.length });

function setup(options: Partial<LimitOptions> = {}) {
  const store = memoryStore({ now: () => NOON });
  const guard = limit({ store, by: 'global', policies: [requests, tokens, bytes], ...options });
  async function send(url = '/') {
    const test = testExchange({ url });
    return { ...test, reply: await sequence(guard)(test.exchange) };
  }
  const left = async () => (await guard.peek('global')).map(({ remaining }) => remaining);
  return { store, guard, send, left };
}

describe('a policy with a cost of its own', () => {
  it('is charged that, and the others what the guard says', async () => {
    const { send, left } = setup({ cost: 3 });
    await send('/123456789');
    expect(await left()).toEqual([7, 750, 90]);
  });

  it('is charged in the same step as the others, or none is', async () => {
    const { send, left } = setup();
    for (let i = 0; i < 4; i++) expect((await send()).reply).toBeUndefined();
    for (let i = 0; i < 9; i++) {
      expect((await send()).reply?.problem).toMatchObject({
        code: 'quota-exceeded',
        'violated-policies': ['tokens'],
        limit: 1000,
        remaining: 0,
      });
    }
    expect(await left()).toEqual([6, 0, 96]);
  });

  it('is settled by its name, and the others stay as they are', async () => {
    const { send, left } = setup();
    const { exchange } = await send();
    await exchange.admission?.settle({ tokens: 20 });
    expect(await left()).toEqual([9, 980, 99]);
    await exchange.admission?.settle({ tokens: 900, bytes: 50 });
    expect(await left()).toEqual([9, 980, 50]);
  });

  it('is given back with the others', async () => {
    const { send, left } = setup();
    const { exchange } = await send();
    exchange.end({ kind: 'completed', status: 503 });
    expect(await left()).toEqual([10, 1000, 100]);
  });

  it('keeps what was settled, if the others are given back', async () => {
    const { send, left } = setup();
    const { exchange } = await send();
    await exchange.admission?.settle({ tokens: 100 });
    exchange.end({ kind: 'completed', status: 503 });
    expect(await left()).toEqual([10, 900, 100]);
  });

  it('has the function of the guard called once for a request, and not at all if every policy has its own', async () => {
    const cost = vi.fn(() => 2);
    const twice = setup({ cost, policies: [requests, dailyQuota({ limit: 100 }), tokens] });
    await twice.send();
    expect([cost.mock.calls.length, await twice.left()]).toEqual([1, [8, 98, 750]]);
    const own = setup({ cost, policies: [tokens, bytes] });
    await own.send();
    expect(cost).toHaveBeenCalledTimes(1);
  });

  it.each([
    [Number.NaN, 'got NaN'],
    [0, 'got 0'],
    [Promise.resolve(4), 'got a promise'],
  ])('is charged nothing, and neither are the others, if its function returns %o', async (cost, message) => {
    const policies = [requests, slidingWindow({ limit: 5, window: '1m', cost: () => cost as number })];
    const { send, left } = setup({ policies });
    const { reply, faults } = await send();
    expect(reply?.status).toBe(500);
    expect(String(faults[0])).toContain(message);
    expect(await left()).toEqual([10, 5]);
  });

  it('keeps it where a function returns the policies', async () => {
    const { send, guard } = setup({ policies: () => [requests, tokens] });
    const { exchange } = await send();
    expect(exchange.admission?.quotas.map(({ remaining }) => remaining)).toEqual([9, 750]);
    expect(await guard.peek('global', [requests, tokens])).toMatchObject([{ remaining: 9 }, { remaining: 750 }]);
  });

  it.each([0, -1, 1.5, '3'])('must not cost %o', (cost) => {
    const options = { limit: 5, window: '1m', cost } as Parameters<typeof slidingWindow>[0];
    expect(() => slidingWindow(options)).toThrow('gatewarden: slidingWindow "cost" must be a positive integer');
    expect(() => dailyQuota({ limit: 5, cost: cost as number })).toThrow(
      'gatewarden: dailyQuota "cost" must be a positive integer',
    );
  });
});
