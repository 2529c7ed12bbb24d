import { describe, expect, it, vi } from 'vitest';
import { addressKey } from '../../src/core/address.js';
import { limit } from '../../src/limit/limit.js';
import { memoryStore } from '../../src/limit/memory/memory-store.js';
import { concurrency, gpuTime, type QuotaPolicy, slidingWindow } from '../../src/limit/policy.js';
import { testExchange } from '../exchange-fixture.js';

const slot = concurrency({ limit: 1, by: 'global', name: 'gpu' });
const time = gpuTime({ limit: '100s', window: '1h', estimate: '1s' });

/** Runs one limit twice for one exchange, and settles the first admission before the second or not. */
async function twice(policies: readonly QuotaPolicy[], settled: Readonly<Record<string, number>> | undefined) {
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  const store = memoryStore();
  const guard = limit({ store, by: 'client-ip', policies });
  const { exchange, faults } = testExchange();
  const first = await guard(exchange);
  if (settled !== undefined) await exchange.admission?.settle(settled);
  const second = await guard(exchange);
  const [quota] = await guard.peek(addressKey('127.0.0.1') ?? '', time);
  const codes = warned.mock.calls.map(([, options]) => (options as { code?: string }).code);
  warned.mockRestore();
  return { replies: [first?.status, second?.status], faults: faults.map(String), codes, left: quota?.remaining };
}

describe('an exchange that runs one job after another', () => {
  it('is admitted for each by the same limit, without a warning, and charged for each', async () => {
    const { replies, faults, codes, left } = await twice([slot, time], { gpu: 0, 'gpu-time': 2000 });
    expect({ replies, faults, codes }).toEqual({ replies: [undefined, undefined], faults: [], codes: [] });
    // What the first job has used, and the estimate of the second.
    expect(left).toBe(100_000 - 2000 - 1000);
  });

  it('is refused while the first job has the slot', async () => {
    expect((await twice([slot], undefined)).replies).toEqual([undefined, 503]);
  });

  it('is reported while the first job still holds GPU time', async () => {
    const { faults } = await twice([slot, time], { gpu: 0 });
    expect(faults).toEqual([expect.stringContaining('ran twice for one request')]);
  });

  it('is reported if requests are charged too, of which there is only one', async () => {
    const requests = slidingWindow({ limit: 5, window: '1m' });
    const { faults } = await twice([slot, requests], { gpu: 0 });
    expect(faults).toEqual([expect.stringContaining('ran twice for one request')]);
  });
});
