import { describe, expect, it } from 'vitest';
import type { Exchange } from '../../../src/core/exchange.js';
import type { Guard } from '../../../src/core/guard.js';
import { OptionError } from '../../../src/core/option.js';
import type { Principal } from '../../../src/core/principal.js';
import { problem } from '../../../src/core/problem.js';
import { refuse } from '../../../src/core/reply.js';
import { sequence } from '../../../src/core/sequence.js';
import { gpuTime, limit, memoryStore, slidingWindow } from '../../../src/index.js';
import { memoryLedger } from '../../../src/observe/usage/memory-ledger.js';
import { type MeterUsageOptions, meterUsage } from '../../../src/observe/usage/meter-usage.js';
import { testExchange } from '../../exchange-fixture.js';

const principal = (id: string): Principal => ({ id, scheme: 'test', scopes: [], credentialId: 'key-1' });

/** Runs an exchange to its end, and returns what was booked. */
async function usageOf(
  guards: readonly Guard[],
  end: (exchange: Exchange) => void,
  headers: readonly [string, string][] = [],
) {
  const ledger = memoryLedger();
  const { exchange, headers: response } = testExchange({ headers });
  const reply = await sequence(meterUsage({ ledger }), ...guards)(exchange);
  response.set('Content-Length', '77');
  if (reply?.problem === undefined) end(exchange);
  else exchange.end({ kind: 'refused', status: reply.status, code: reply.problem.code });
  return ledger.read().rows;
}

const identify =
  (id: string): Guard =>
  (exchange) => {
    exchange.principal = principal(id);
    return undefined;
  };
const completed = (exchange: Exchange) => exchange.end({ kind: 'completed', status: 200 });

describe('meterUsage', () => {
  it('counts a request of a principal with its bytes, by its id', async () => {
    expect(await usageOf([identify('ada')], completed, [['content-length', '12']])).toEqual([
      {
        client: 'ada',
        requests: 1,
        refusals: {},
        errors: 0,
        bytesIn: 12,
        bytesOut: 77,
        gpuTime: 0,
        jobsStarted: 0,
        jobsFinished: 0,
        jobsAborted: 0,
      },
    ]);
  });

  it('counts a refusal by its code, and all callers without a principal in one row', async () => {
    const refuseAll: Guard = () => refuse(problem('credentials-missing'));
    expect(await usageOf([refuseAll], completed)).toMatchObject([
      { client: 'anonymous', requests: 1, refusals: { 'credentials-missing': 1 }, errors: 0 },
    ]);
  });

  it('counts an error of the handler, and no refusal with such a status', async () => {
    const failed = (exchange: Exchange) => exchange.end({ kind: 'completed', status: 500 });
    expect(await usageOf([identify('ada')], failed)).toMatchObject([{ errors: 1, refusals: {} }]);
    const down: Guard = () => refuse(problem('store-unavailable'));
    expect(await usageOf([identify('ada'), down], completed)).toMatchObject([
      { errors: 0, refusals: { 'store-unavailable': 1 } },
    ]);
  });

  it('counts a client that leaves', async () => {
    expect(await usageOf([identify('ada')], (exchange) => exchange.abort())).toMatchObject([
      { requests: 1, errors: 0, refusals: {} },
    ]);
  });

  it('makes no rows for strangers, however many they are', async () => {
    const ledger = memoryLedger();
    const guard = sequence(meterUsage({ ledger }), () => refuse(problem('credentials-invalid')));
    for (let i = 0; i < 1000; i++) {
      const { exchange } = testExchange({
        headers: [['x-api-key', `gw_guess_${i}`]],
        remoteAddress: `10.0.${i >> 8}.${i & 255}`,
      });
      await guard(exchange);
      exchange.end({ kind: 'refused', status: 401, code: 'credentials-invalid' });
    }
    expect(ledger.read()).toMatchObject({ total: 1, rows: [{ client: 'anonymous', requests: 1000 }] });
  });

  it('counts a request once, also if it is on the route again', async () => {
    const ledger = memoryLedger();
    const { exchange } = testExchange();
    await sequence(meterUsage({ ledger }))(exchange);
    await sequence(meterUsage({ ledger }))(exchange);
    completed(exchange);
    expect(ledger.read().rows).toMatchObject([{ requests: 1 }]);
  });

  it.each([
    ['a very long name', 'x'.repeat(5000)],
    ['a name that is no valid text', 'a\ud800b'],
  ])('replaces %s by its digest', async (_what, id) => {
    const [row] = await usageOf([identify(id)], completed);
    expect(row?.client).toMatch(/^sha256-[\w-]{43}$/);
  });

  it.each(['-1', 'twelve', '1e400', ''])('takes a Content-Length of %j for none', async (length) => {
    expect(await usageOf([identify('ada')], completed, [['content-length', length]])).toMatchObject([{ bytesIn: 0 }]);
  });

  it('reports a ledger that cannot add as a fault, and lets the request pass', async () => {
    const failing = { ...memoryLedger(), add: () => Promise.reject(new Error('the disk is full')) };
    const { exchange, faults } = testExchange();
    expect(await sequence(meterUsage({ ledger: failing }))(exchange)).toBeUndefined();
    completed(exchange);
    await new Promise(setImmediate);
    expect(faults).toMatchObject([{ message: 'the disk is full' }]);
  });

  it('refuses what is no ledger', () => {
    const make = () => meterUsage({ ledger: {} } as MeterUsageOptions);
    expect(make).toThrow(OptionError);
    expect(make).toThrow('gatewarden: meterUsage "ledger" must be a ledger, got [Object]; pass memoryLedger()');
  });
});

describe('GPU time without a worker', () => {
  const policy = () => gpuTime({ limit: '1h', window: '1h', estimate: '1s' });
  const store = memoryStore();

  it('is what the handler settles', async () => {
    const guards = [identify('ada'), limit({ store, by: 'principal', policies: policy() })];
    const rows = await usageOf(guards, (exchange) => {
      void exchange.admission?.settle({ 'gpu-time': 4200 });
      completed(exchange);
    });
    expect(rows).toMatchObject([{ client: 'ada', gpuTime: 4200, jobsStarted: 0, jobsFinished: 0 }]);
  });

  it('is booked once, however many policies and limits count it', async () => {
    const guards = [
      identify('ada'),
      limit({
        store,
        by: 'principal',
        policies: [policy(), gpuTime({ limit: '1h', window: 'day', estimate: '1s', by: 'global', name: 'all' })],
      }),
      limit({ by: 'global', policies: [policy(), slidingWindow({ limit: 5, window: '1m' })] }),
    ];
    const rows = await usageOf(guards, (exchange) => {
      void exchange.admission?.settle({ 'gpu-time': 900 });
      void exchange.admission?.previous?.settle({ 'gpu-time': 900, all: 1000 });
      completed(exchange);
    });
    expect(rows).toMatchObject([{ gpuTime: 1000 }]);
  });

  it('is what was held if the handler says nothing, and nothing if a later guard refuses', async () => {
    const guards = [identify('ada'), limit({ by: 'principal', policies: policy() })];
    const [row] = await usageOf(guards, completed);
    expect(row?.gpuTime).toBeGreaterThan(0);
    expect(row?.gpuTime).toBeLessThan(5000);
    const refused = await usageOf([...guards, () => refuse(problem('not-ready'))], completed);
    expect(refused).toMatchObject([{ gpuTime: 0 }]);
  });
});
