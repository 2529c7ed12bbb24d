import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Exchange } from '../../src/core/exchange.js';
import { type ExchangeObserver, observe } from '../../src/core/exchange-observer.js';
import { concurrency, gpuTime, type LimitStore, limit, memoryStore, slidingWindow } from '../../src/index.js';
import { testExchange } from '../exchange-fixture.js';

/** An exchange whose observer keeps what it receives of limits. */
function observed() {
  const seen = {
    store: [] as string[],
    waiting: 0,
    waited: 0,
    held: {} as Record<string, number>,
    heldMost: {} as Record<string, number>,
    gpu: [] as number[],
  };
  const observer: ExchangeObserver<Exchange> = {
    storeAnswered(_exchange, operation, duration, error) {
      expect(duration).toBeGreaterThanOrEqual(0);
      seen.store.push(error === undefined ? operation : `${operation} failed: ${(error as Error).message}`);
    },
    waiting(_exchange, change) {
      seen.waiting += change;
      seen.waited = Math.max(seen.waited, seen.waiting);
    },
    held(_exchange, policy, change) {
      const held = (seen.held[policy] ?? 0) + change;
      seen.held[policy] = held;
      seen.heldMost[policy] = Math.max(seen.heldMost[policy] ?? 0, held);
    },
    gpuTime(_exchange, milliseconds) {
      seen.gpu.push(milliseconds);
    },
  };
  const { exchange, faults } = testExchange();
  observe(exchange, observer);
  return { exchange, faults, seen };
}

const DONE = { kind: 'completed', status: 200 } as const;
const GPU = { limit: '10m', window: '1h', estimate: '1s' } as const;

describe('the observer of an exchange', () => {
  it('receives the answers of a store, also late ones, and what failed', async () => {
    const memory = memoryStore();
    const late: LimitStore = {
      ...memory,
      admit: async (...args) => memory.admit(...args),
      settle: async () => {
        throw new Error('no settling today');
      },
      renew: memory.renew.bind(memory),
      release: memory.release.bind(memory),
      peek: memory.peek.bind(memory),
      reset: memory.reset.bind(memory),
    };
    const { exchange, faults, seen } = observed();
    const policies = slidingWindow({ limit: 1, window: '1m' });
    await limit({ by: () => 'k', policies, store: late })(exchange);
    exchange.end({ kind: 'completed', status: 500 });
    await sleep(0);
    expect(seen.store).toEqual(['admit', 'settle failed: no settling today']);
    expect(faults).toHaveLength(1);
    const failing = observed();
    const broken = {
      ...late,
      admit: () => {
        throw new Error('broken');
      },
    };
    await limit({ by: () => 'k', policies, store: broken })(failing.exchange);
    expect(failing.seen.store).toEqual(['admit failed: broken']);
  });

  it('receives what is held and given back: at the end, by a release, and by a loss', async () => {
    const slots = limit({ by: () => 'k', policies: [concurrency({ limit: 2, name: 'slots' }), gpuTime(GPU)] });
    for (const give of [
      (exchange: Exchange) => exchange.end(DONE),
      (exchange: Exchange) => exchange.abort(),
      async (exchange: Exchange) => {
        await exchange.admission?.release();
        exchange.end(DONE);
      },
      async (exchange: Exchange) => {
        await exchange.admission?.settle({ slots: 0 });
        await exchange.admission?.settle({ slots: 0 });
        exchange.end(DONE);
      },
    ]) {
      const { exchange, seen } = observed();
      await slots(exchange);
      expect(seen.held).toEqual({ slots: 1, 'gpu-time': 1 });
      await give(exchange);
      expect(seen.held).toEqual({ slots: 0, 'gpu-time': 0 });
      expect(seen.heldMost).toEqual({ slots: 1, 'gpu-time': 1 });
    }
  });

  it('receives a hold that was lost as given back, once', async () => {
    let isHeld = true;
    const memory = memoryStore();
    const store: LimitStore = {
      admit: memory.admit.bind(memory),
      settle: memory.settle.bind(memory),
      renew: () => isHeld,
      release: memory.release.bind(memory),
      peek: memory.peek.bind(memory),
      reset: memory.reset.bind(memory),
    };
    const { exchange, seen } = observed();
    await limit({ by: () => 'k', store, policies: concurrency({ limit: 1, lease: '1s', name: 'slots' }) })(exchange);
    const lost = exchange.admission?.lost;
    isHeld = false;
    await new Promise((resolve) => lost?.addEventListener('abort', resolve));
    expect(seen.held).toEqual({ slots: 0 });
    exchange.end(DONE);
    expect(seen.held).toEqual({ slots: 0 });
    expect(seen.store).toContain('renew');
  });

  it('receives GPU time once, however many policies and limits count it', async () => {
    const { exchange, seen } = observed();
    const policies = ['a', 'b'].map((name) => gpuTime({ ...GPU, name }));
    await limit({ by: () => 'k', policies })(exchange);
    await limit({ by: () => 'k', policies: gpuTime(GPU) })(exchange);
    await exchange.admission?.previous?.settle({ a: 400, b: 400 });
    await exchange.admission?.settle({ 'gpu-time': 450 });
    expect(seen.gpu).toEqual([400, 50]);
    // Another job after that.
    await limit({ by: () => 'k', policies: gpuTime(GPU) })(exchange);
    await exchange.admission?.settle({ 'gpu-time': 300 });
    exchange.end(DONE);
    expect(seen.gpu).toEqual([400, 50, 300]);
  });

  it('receives no GPU time of a request that was refused', async () => {
    const { exchange, seen } = observed();
    await limit({ by: () => 'k', policies: gpuTime(GPU) })(exchange);
    exchange.end({ kind: 'refused', status: 415, code: 'upload-type-unsupported' });
    expect(seen.gpu).toEqual([]);
  });

  it('receives who waits in a queue, until it is served, is too late or leaves', async () => {
    const slots = limit({
      by: 'global',
      policies: concurrency({ limit: 1, name: 'slots' }),
      queue: { by: () => 'client', maxWait: '2s' },
    });
    const first = observed();
    await slots(first.exchange);
    expect(first.seen.waited).toBe(0);
    const [second, third] = [observed(), observed()];
    const served = slots(second.exchange);
    const leaves = slots(third.exchange);
    await sleep(5);
    expect([second.seen.waiting, third.seen.waiting]).toEqual([1, 1]);
    third.exchange.abort();
    await leaves;
    first.exchange.end(DONE);
    await served;
    expect([second.seen.waiting, third.seen.waiting]).toEqual([0, 0]);
    expect([second.seen.held, third.seen.held]).toEqual([{ slots: 1 }, {}]);
    second.exchange.end(DONE);
    expect(second.seen.held).toEqual({ slots: 0 });
  });
});
