import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { JobBooking } from '../../../../src/core/ledger.js';
import { type RedisLedgerOptions, redisLedger } from '../../../../src/observe/usage/redis/redis-ledger.js';
import { describeRedis } from '../../../redis/describe.js';
import { useAnyRedis } from '../../../redis/suite.js';

const job = (name: string, more: Partial<JobBooking> = {}): JobBooking => ({
  job: name,
  client: 'ada',
  gpuTime: 5,
  isFinal: true,
  end: 'finished',
  ...more,
});

describeRedis(
  'the rows of redisLedger',
  () => {
    const redis = useAnyRedis();

    it('of one day expire after the days that are kept, and their sum does not', async () => {
      const client = redis.client();
      const prefix = `usage-${randomUUID()}:`;
      const ledger = redisLedger({ client, prefix, keepDays: 2 });
      ledger.add([{ client: 'ada', requests: 1 }]);
      await ledger.read();
      const day = `${prefix}day:${ledger.today()}`;
      const ttl = async (key: string) => Number(await client.call('PTTL', key));
      expect(await ttl(day)).toBeGreaterThan(2 * 86_400_000);
      expect(await ttl(day)).toBeLessThanOrEqual(3 * 86_400_000);
      expect(await ttl(`${prefix}all`)).toBe(-1);
      await ledger.close();
      client.disconnect();
    });
  },
  { anyServer: true },
);

/** A connection on which scripts fail for as long as `failure` says, and otherwise answer what `answer` returns. */
function connection(answer: (script: string) => unknown = () => 1) {
  const seen = { scripts: [] as string[], failure: (_script: string): Error | undefined => undefined };
  const client = {
    evalsha: () => Promise.reject(new Error('NOSCRIPT')),
    async eval(script: string) {
      const error = seen.failure(script);
      if (error !== undefined) throw error;
      seen.scripts.push(script);
      return answer(script);
    },
  };
  return { seen, client: client as unknown as RedisLedgerOptions['client'] };
}
const isAdd = (script: string) => script.includes("'NX'");
const isPlaces = (script: string) => script.includes('SMEMBERS');

describe('redisLedger while Redis is away', () => {
  it('keeps rows, and not requests', async () => {
    const { client, seen } = connection((script) => (isPlaces(script) ? [] : ['0', []]));
    const ledger = redisLedger({ client, interval: '60s' });
    seen.failure = () => new Error('away');
    for (let i = 0; i < 20; i++) {
      ledger.add([{ client: 'ada', requests: 1 }]);
      await expect(ledger.read()).rejects.toThrow('away');
    }
    seen.failure = () => undefined;
    await ledger.close();
    // What was tried first is sent as it is, and all that came later at once.
    expect(seen.scripts.filter(isAdd).length).toBeLessThanOrEqual(2);
  });

  it('keeps 10,000 bookings, and rejects more', async () => {
    const { client, seen } = connection();
    const ledger = redisLedger({ client, interval: '60s' });
    seen.failure = () => new Error('away');
    const kept = ledger.book(Array.from({ length: 10_000 }, (_, i) => job(`job-${i}`)));
    await expect(ledger.book([job('one more')])).rejects.toThrow('more than 10000 bookings of redisLedger wait');
    await expect(ledger.read()).rejects.toThrow('away');
    seen.failure = () => undefined;
    await ledger.close();
    await kept;
  });

  it('opens a place of a Cluster again if that has failed', async () => {
    const { client, seen } = connection();
    Object.assign(client, { isCluster: true });
    const ledger = redisLedger({ client, interval: '60s' });
    seen.failure = (script) => (isPlaces(script) ? new Error('away') : undefined);
    const booked = ledger.book([job('a', { place: 'a1' })]);
    await expect(ledger.read()).rejects.toThrow('away');
    seen.failure = () => undefined;
    await ledger.close();
    await booked;
    expect(seen.scripts.filter(isPlaces)).toHaveLength(1);
  });
});

it('redisLedger counts a field once that a scan returns twice', async () => {
  const { client } = connection((script) => {
    if (isPlaces(script)) return [];
    return script.includes('HSCAN') ? ['0', ['requests ada', '3', 'requests ada', '3']] : 1;
  });
  expect((await redisLedger({ client }).read()).rows).toMatchObject([{ client: 'ada', requests: 3 }]);
});
