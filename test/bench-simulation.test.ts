import { expect, it } from 'vitest';

interface Simulation {
  simulateKeys(options: object): {
    utilization: number;
    busiest: number;
    p50: number;
    p99: number;
    liveKeys: number;
    mebibytes: number;
  };
  simulateHotKey(options: object): {
    callsPerSecond: number;
    utilization: number;
    refusedEarly: number;
    fullest: number;
  };
  predictThroughput(options: object): number;
}

const file = new URL('../bench/simulation.js', import.meta.url).href;
const { simulateKeys, simulateHotKey, predictThroughput } = (await import(file)) as Simulation;

const cost = { call: 6, operation: 4 };
const bytes = { key: 100, entry: 5 };

it('keeps a server busy for as long as its calls take', () => {
  const few = { keys: 1000, seconds: 10, cost, bytes };
  const cluster = simulateKeys({ ...few, requestsPerSecond: 30_000, shards: 3 });
  // Each decision is a call of 10 µs, for one of three servers.
  expect(cluster.utilization).toBeCloseTo(0.1, 2);
  expect(cluster.busiest).toBeGreaterThan(cluster.utilization);
  // A single server gets the decisions of one turn in one call: a process makes one in 100 µs, and a turn takes 200.
  const one = simulateKeys({ ...few, requestsPerSecond: 30_000, shards: 1, gateways: 3 });
  expect(one.utilization).toBeCloseTo(0.03 * (6 / 3 + 4), 1);
  expect(one.p99).toBeGreaterThan(one.p50);
});

it('counts the memory of the keys that are used', () => {
  const { liveKeys, mebibytes } = simulateKeys({
    keys: 10,
    requestsPerSecond: 100_000,
    shards: 1,
    seconds: 1,
    cost,
    bytes,
  });
  expect(liveKeys).toBe(10);
  expect(mebibytes * 2 ** 20).toBeCloseTo(10 * (100 + 60 * 5), 0);
});

it.each([undefined, { share: 0.01, maxAgeMs: 1000 }])('admits no more than the limit of one counter (%o)', (ahead) => {
  const options = { gateways: 20, limit: 60_000, cost, ahead };
  const even = simulateHotKey({ ...options, load: 1 });
  expect(even.fullest).toBeLessThanOrEqual(60_000);
  expect(even.refusedEarly).toBeLessThan(0.05);
  // A process that takes units ahead makes a few calls a second, and others one for each request.
  if (ahead === undefined) expect(even.callsPerSecond).toBeCloseTo(1000, -2);
  else expect(even.callsPerSecond).toBeLessThan(300);
  expect(simulateHotKey({ ...options, load: 3 }).fullest).toBeLessThanOrEqual(60_000);
});

it('predicts what is spent first: the server, the processes or the cores', () => {
  const equal = {
    processes: 8,
    callers: 25,
    cores: 16,
    server: { call: 50, operation: 8 },
    client: { call: 0, operation: 10 },
  };
  expect(predictThroughput(equal)).toBeCloseTo(1e6 / 10);
  expect(predictThroughput({ ...equal, callers: 1 })).toBeCloseTo(1e6 / 58);
  expect(predictThroughput({ ...equal, client: { call: 0, operation: 160 } })).toBeCloseTo(8e6 / 160);
  expect(predictThroughput({ ...equal, cores: 1 })).toBeCloseTo(1e6 / 20);
});
