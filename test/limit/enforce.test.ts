import { describe, expect, it } from 'vitest';
import type { Guard } from '../../src/core/guard.js';
import { sequence } from '../../src/core/sequence.js';
import { type LimitDecision, type LimitOptions, limit } from '../../src/limit/limit.js';
import { memoryStore } from '../../src/limit/memory/memory-store.js';
import { concurrency, gpuTime, slidingWindow } from '../../src/limit/policy.js';
import { type LimitStore, unavailable } from '../../src/limit/store.js';
import { ManualClock } from '../contracts/limit-store.js';
import { testExchange } from '../exchange-fixture.js';
import { late } from './late-store.js';

const NOON = Date.UTC(2025, 5, 15, 12);
const two = slidingWindow({ limit: 2, window: '1m', name: 'two', by: 'global' });

function setup(options: Partial<LimitOptions> = {}) {
  const clock = new ManualClock(NOON);
  const decisions: LimitDecision[] = [];
  const guard = limit({
    store: memoryStore({ now: clock.now }),
    policies: two,
    onDecision: (decision) => void decisions.push(decision),
    ...options,
  });
  async function send(guards: readonly Guard[] = []) {
    const test = testExchange();
    const reply = await sequence(guard, ...guards)(test.exchange);
    return { ...test, reply };
  }
  return { clock, decisions, guard, send };
}

const STORES: readonly [what: string, wrap: (store: LimitStore) => LimitStore][] = [
  ['a store that answers at once', (store) => store],
  ['a store that answers by promises', late],
];

describe.each(STORES)('limit({ enforce: false }) over %s', (_, wrap) => {
  const trial = (options: Partial<LimitOptions> = {}) => {
    const clock = new ManualClock(NOON);
    return setup({ enforce: false, store: wrap(memoryStore({ now: clock.now })), ...options });
  };

  it('lets every request pass, and reports what it decided', async () => {
    const { send, decisions } = trial();
    for (let i = 0; i < 4; i++) expect((await send()).reply).toBeUndefined();
    expect(decisions.map(({ kind, enforced }) => [kind, enforced])).toEqual([
      ['admitted', false],
      ['admitted', false],
      ['refused', false],
      ['refused', false],
    ]);
    expect(decisions[3]).toMatchObject({
      at: NOON,
      quotas: [{ name: 'two', limit: 2, remaining: 0, resetAt: NOON + 60_000 }],
      violations: [{ state: { name: 'two' }, retryAt: NOON + 60_000 }],
      reply: { status: 429, headers: [['Retry-After', '60']], problem: { code: 'quota-exceeded' } },
    });
  });

  it('charges what it would charge, and corrects it as it would', async () => {
    const { send, guard } = trial({ by: 'global' });
    const { exchange } = await send();
    expect(await guard.peek('global')).toMatchObject([{ remaining: 1 }]);
    exchange.end({ kind: 'completed', status: 500 });
    expect(await guard.peek('global')).toMatchObject([{ remaining: 2 }]);
  });

  it('charges nothing for a request that it would have refused', async () => {
    const { send, guard } = trial({ by: 'global' });
    for (let i = 0; i < 9; i++) {
      const { exchange } = await send();
      if (i >= 2) expect(exchange.admission).toBeUndefined();
    }
    expect(await guard.peek('global')).toMatchObject([{ remaining: 0 }]);
  });

  it('sends no headers, unless told so', async () => {
    const { send } = trial();
    const { headers } = await send();
    expect(headers.get('RateLimit')).toBeUndefined();
    const told = trial({ headers: true, legacyHeaders: true });
    for (const left of ['1', '0', '0']) {
      const { headers } = await told.send();
      expect(headers.get('RateLimit')).toBe(`"two";r=${left};t=60`);
      expect(headers.get('X-RateLimit-Remaining')).toBe(left);
    }
  });

  it('refuses no request if the store fails, and reports a failure that is no outage', async () => {
    for (const [error, faults] of [
      [unavailable('Redis does not answer'), []],
      [new Error('a fault'), [new Error('a fault')]],
    ] as const) {
      const failing = wrap({
        admit: () => {
          throw error;
        },
        settle: () => undefined,
        renew: () => true,
        release: () => undefined,
        peek: () => [],
        reset: () => undefined,
      });
      const { send, decisions } = trial({ store: failing });
      const answer = await send();
      expect([answer.reply, answer.faults]).toEqual([undefined, faults]);
      expect(decisions).toEqual([{ kind: 'failed', error, enforced: false }]);
    }
  });

  it('refuses no request if there is nothing to count by, or a function of the limit fails', async () => {
    const fails = (): never => {
      throw new Error('a function');
    };
    const cases: readonly (readonly [Partial<LimitOptions>, string])[] = [
      [{ policies: slidingWindow({ limit: 2, window: '1m', by: 'principal' }) }, 'there is no principal'],
      [{ by: fails, policies: slidingWindow({ limit: 2, window: '1m' }) }, 'a function'],
      [{ cost: fails }, 'a function'],
      [{ cost: () => 0 }, '"cost" must be a positive integer'],
      [{ skip: fails }, 'a function'],
      [{ policies: fails }, 'a function'],
    ];
    for (const [options, message] of cases) {
      const { send, decisions } = trial(options);
      const { reply, faults } = await send();
      expect(reply).toBeUndefined();
      expect(faults.map(String)).toEqual([expect.stringContaining(message)]);
      expect(decisions).toMatchObject([{ kind: 'failed', enforced: false }]);
    }
  });

  it('refuses no request if the store gives no decision', async () => {
    const { send } = trial({
      store: wrap({
        admit: () => ({ kind: 'perhaps', states: [], at: NOON }) as never,
        settle: () => undefined,
        renew: () => true,
        release: () => undefined,
        peek: () => [],
        reset: () => undefined,
      }),
    });
    const { reply, faults } = await send();
    expect([reply, faults.length]).toEqual([undefined, 1]);
  });
});

it('a limit that is not enforced holds slots as it would, and lets pass who finds none', async () => {
  const policies = [
    concurrency({ limit: 1, by: 'global' }),
    gpuTime({ limit: '1m', window: '1h', estimate: '1s', by: 'global' }),
  ];
  const { send, decisions } = setup({ enforce: false, policies });
  const first = await send();
  expect(first.exchange.admission?.holds).toHaveLength(2);
  const second = await send();
  expect(second.reply).toBeUndefined();
  expect(second.exchange.admission).toBeUndefined();
  first.exchange.end({ kind: 'completed', status: 200 });
  const third = await send();
  expect(third.exchange.admission?.holds).toMatchObject([{ slot: 0 }, { slot: 0 }]);
  expect(decisions.map(({ kind }) => kind)).toEqual(['admitted', 'refused', 'admitted']);
});

describe('onDecision of a limit that is enforced', () => {
  it('receives every decision and the exchange', async () => {
    const seen: unknown[] = [];
    const { send } = setup({
      onDecision: ({ kind, enforced }, { request }) => void seen.push([kind, enforced, request.url]),
    });
    for (let i = 0; i < 3; i++) await send();
    expect(seen).toEqual([
      ['admitted', true, '/'],
      ['admitted', true, '/'],
      ['refused', true, '/'],
    ]);
  });

  it('receives the reply that goes out', async () => {
    const { send, decisions } = setup();
    for (let i = 0; i < 2; i++) await send();
    const { reply } = await send();
    expect(reply?.status).toBe(429);
    expect(decisions[2]).toMatchObject({ reply });
  });

  it('sees the admission on the exchange', async () => {
    const seen: unknown[] = [];
    const { send } = setup({ onDecision: (_, { admission }) => void seen.push(admission?.quotas[0]?.remaining) });
    await send();
    expect(seen).toEqual([1]);
  });

  it('receives the failure of a store, which refuses', async () => {
    const error = unavailable('Redis does not answer');
    const failing = { ...late(memoryStore({ now: () => NOON })), admit: () => Promise.reject(error) };
    const { send, decisions } = setup({ store: failing });
    expect((await send()).reply?.status).toBe(503);
    expect(decisions).toEqual([{ kind: 'failed', error, enforced: true }]);
  });

  it.each<[string, () => void]>([
    [
      'throws',
      () => {
        throw new Error('no log');
      },
    ],
    ['rejects', (async () => Promise.reject(new Error('no log'))) as () => void],
  ])('changes no decision if it %s', async (_, onDecision) => {
    const { send } = setup({ onDecision });
    const { reply, faults } = await send();
    await new Promise((turn) => setImmediate(turn));
    expect([reply, faults]).toEqual([undefined, [new Error('no log')]]);
    await send();
    expect((await send()).reply?.status).toBe(429);
  });
});

it.each([
  [{ enforce: 'no' }, '"enforce" must be true or false'],
  [{ headers: 1 }, '"headers" must be true or false'],
  [{ capacityStatus: 500 }, '"capacityStatus" must be 429 or 503, got 500'],
  [{ onDecision: 'log' }, '"onDecision" must be a function'],
])('limit refuses %o', (options, message) => {
  expect(() => limit({ policies: two, ...options } as unknown as LimitOptions)).toThrow(message);
});
