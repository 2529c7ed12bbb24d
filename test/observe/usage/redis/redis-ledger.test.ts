import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { OptionError } from '../../../../src/core/option.js';
import { type RedisLedgerOptions, redisLedger } from '../../../../src/observe/usage/redis/redis-ledger.js';
import { ledgerContract } from '../../../contracts/ledger.js';
import { describeRedis } from '../../../redis/describe.js';
import { LossyProxy } from '../../../redis/lossy-proxy.js';
import { useAnyRedis, useCluster, useRedis } from '../../../redis/suite.js';

describeRedis(
  'redisLedger on a server',
  () => {
    const redis = useAnyRedis();

    ledgerContract('redisLedger', () => {
      let now = 0;
      const prefix = `usage-${randomUUID()}:`;
      const clients = [redis.client(), redis.client()];
      return {
        ledgers: clients.map((client) => redisLedger({ client, prefix, now: () => now })),
        setTime(time) {
          now = time;
        },
        close() {
          for (const client of clients) client.disconnect();
        },
      };
    });
  },
  { anyServer: true },
);

describeRedis('redisLedger in a Cluster', () => {
  const cluster = useCluster();

  ledgerContract('redisLedger in a Cluster', () => {
    let now = 0;
    const prefix = `usage-${randomUUID()}:`;
    const client = cluster.client();
    return {
      ledgers: [0, 1].map(() => redisLedger({ client, prefix, now: () => now })),
      setTime(time) {
        now = time;
      },
      close() {
        client.disconnect();
      },
    };
  });

  it('adds up the rows of all places, which another process finds', async () => {
    const prefix = `usage-${randomUUID()}:`;
    const client = cluster.client();
    const [ledger, other] = [redisLedger({ client, prefix }), redisLedger({ client, prefix })];
    const places = ['a', 'b', 'c', 'd', undefined];
    await ledger.book(
      places.map((place, i) => ({ job: `job-${i}`, client: 'ada', gpuTime: 10 ** i, isFinal: true, place })),
    );
    expect((await other.read()).rows).toMatchObject([{ client: 'ada', gpuTime: 11_111 }]);
    expect((await other.read({ day: other.today() })).rows).toMatchObject([{ client: 'ada', gpuTime: 11_111 }]);
    client.disconnect();
  });
});

describeRedis('redisLedger, when Redis is away or a reply is lost', () => {
  const server = useRedis();

  it('adds once what a client sends again', async () => {
    const proxy = await LossyProxy.start(server);
    const client = await proxy.client({ retryStrategy: () => 5 });
    const ledger = redisLedger({ client, prefix: 'lossy:', interval: '50ms' });
    for (let i = 0; i < 20; i++) {
      ledger.add([{ client: 'ada', requests: 1, bytesIn: 7, refusal: 'not-ready' }]);
      proxy.dropNext = i % 2 === 0;
      const booked = ledger.book([{ job: `job-${i}`, client: 'bob', gpuTime: 3, isFinal: true, end: 'finished' }]);
      if (i % 3 === 0) proxy.dropNext = true;
      await booked;
    }
    proxy.dropNext = false;
    expect((await ledger.read({ sort: 'client' })).rows).toMatchObject([
      { client: 'ada', requests: 20, bytesIn: 140, refusals: { 'not-ready': 20 } },
      { client: 'bob', gpuTime: 60, jobsFinished: 20 },
    ]);
    expect(proxy.dropped).toBeGreaterThan(5);
    proxy.stop();
  });

  it('adds the figures of others, whatever lengths a client has named', async () => {
    const client = server.client();
    const ledger = redisLedger({ client, prefix: 'huge:', interval: '60s' });
    for (let i = 0; i < 1100; i++) {
      ledger.add([{ client: 'anonymous', requests: 1, bytesIn: Number.MAX_SAFE_INTEGER }]);
      if (i % 100 === 0) ledger.add([{ client: 'ada', requests: 1, bytesOut: 3 }]);
      // So many batches pass what Redis can count.
      await ledger.read({ client: 'ada' });
    }
    const rows = [{ client: 'ada', requests: 11, bytesOut: 33 }, { requests: 1100 }];
    expect((await ledger.read({ sort: 'client' })).rows).toMatchObject(rows);
    expect((await ledger.read({ sort: 'client', day: ledger.today() })).rows).toMatchObject(rows);
    client.disconnect();
  });

  it('writes what came during a slow write, without being asked', async () => {
    const [client, other, control] = [server.client(), server.client(), server.client()];
    const ledger = redisLedger({ client, prefix: 'slow:', interval: '20ms' });
    await ledger.read();
    await control.call('CLIENT', 'PAUSE', '400', 'WRITE');
    ledger.add([{ client: 'ada', requests: 1 }]);
    // The write has begun, and waits.
    await sleep(60);
    ledger.add([{ client: 'ada', requests: 1 }]);
    const reader = redisLedger({ client: other, prefix: 'slow:' });
    await expect
      .poll(async () => (await reader.read().catch(() => ({ rows: [] }))).rows, { timeout: 5000 })
      .toMatchObject([{ requests: 2 }]);
    for (const one of [client, other, control]) one.disconnect();
  });

  it('writes what came meanwhile when Redis is back, and says once that it was away', async () => {
    const warnings: Error[] = [];
    const note = (warning: Error) => void warnings.push(warning);
    process.on('warning', note);
    const client = server.client({ maxRetriesPerRequest: 0, retryStrategy: () => 20 });
    await client.ping();
    const ledger = redisLedger({ client, prefix: 'away:', interval: '20ms', timeout: '200ms' });
    await server.kill();
    const booked = ledger.book([{ job: 'a', client: 'ada', gpuTime: 5, isFinal: true, end: 'finished' }]);
    for (let i = 0; i < 5; i++) ledger.add([{ client: 'ada', requests: 1 }]);
    await expect(ledger.read()).rejects.toThrow();
    await expect.poll(() => warnings.filter(({ message }) => message.includes('redisLedger'))).toHaveLength(1);
    expect(warnings.find(({ message }) => message.includes('redisLedger'))?.message).toMatch(
      /^gatewarden: redisLedger cannot write, and will try again: /,
    );
    await server.restart();
    await booked;
    await expect
      .poll(async () => (await ledger.read().catch(() => ({ rows: [] }))).rows, { timeout: 5000 })
      .toMatchObject([{ client: 'ada', requests: 5, gpuTime: 5 }]);
    process.off('warning', note);
    await ledger.close();
  });

  it('rejects close if what was collected cannot be written', async () => {
    const client = server.client({ maxRetriesPerRequest: 0, enableOfflineQueue: false });
    const ledger = redisLedger({ client, prefix: 'closed:', timeout: '200ms' });
    client.disconnect();
    ledger.add([{ client: 'ada', requests: 1 }]);
    await expect(ledger.close()).rejects.toThrow();
  });
});

describe('redisLedger', () => {
  it.each<[message: string, options: object]>([
    ['redisLedger "client" must be a client of ioredis', { client: 'redis://:secret@localhost' }],
    ['redisLedger "prefix" must be a non-empty string without braces', { prefix: '{a}' }],
    ['redisLedger "timeZone" must be a time zone such as Europe/Berlin', { timeZone: 'Mars' }],
    ['redisLedger "keepDays" must be at most 4000', { keepDays: 5000 }],
    ['redisLedger "interval" needs a unit', { interval: 5 }],
  ])('refuses bad options: %s', (message, options) => {
    const client = { eval: async () => 0, evalsha: async () => 0 };
    const make = () => redisLedger({ client, ...options } as RedisLedgerOptions);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(message);
    expect(make).not.toThrow('secret');
  });
});
