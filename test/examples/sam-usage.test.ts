import { describe, expect, it } from 'vitest';
import { recentTraffic } from '../../examples/sam-service/traffic.js';
import { clientUsage } from '../../examples/sam-service/usage.js';
import { type Level, textLogger } from '../../examples/text-logger.js';

describe('the usage of each client', () => {
  it('adds up requests and seconds, and rounds the total to milliseconds', () => {
    const usage = clientUsage();
    usage.request('one');
    usage.request('one');
    usage.request('two');
    for (let i = 0; i < 3; i++) usage.workerTook('one', 1000.4);
    expect(usage.all()).toEqual({ one: { requests: 2, gpu_time: 3.001 }, two: { requests: 1, gpu_time: 0 } });
  });

  it('counts anonymous clients together', () => {
    const usage = clientUsage();
    usage.request(undefined);
    usage.request(undefined);
    usage.workerTook(undefined, 10);
    expect(usage.all()).toEqual({ anonymous: { requests: 2, gpu_time: 0.01 } });
  });

  it.each(['__proto__', 'constructor', 'toString'])('accepts %s as the id of a client', (id) => {
    const usage = clientUsage();
    usage.request(id);
    usage.request('other');
    expect(JSON.stringify(usage.all())).toBe(
      `{"other":{"requests":1,"gpu_time":0},"${id}":{"requests":1,"gpu_time":0}}`,
    );
    expect(Object.getPrototypeOf(usage.all())).toBe(Object.prototype);
    expect({}).not.toHaveProperty('requests');
  });

  it('forgets the least recent client when there are too many', () => {
    const usage = clientUsage({ maxClients: 2 });
    for (const id of ['one', 'two', 'one', 'three']) usage.request(id);
    expect(usage.all()).toEqual({ one: { requests: 2, gpu_time: 0 }, three: { requests: 1, gpu_time: 0 } });
  });

  it('lists the clients with the most requests, in descending order', () => {
    const usage = clientUsage();
    for (const id of ['one', 'two', 'two', 'three', 'three', 'three']) usage.request(id);
    expect(usage.top(2)).toEqual([
      { id: 'three', requests: 3, gpu_time: 0 },
      { id: 'two', requests: 2, gpu_time: 0 },
    ]);
  });
});

describe('the traffic of the last minute', () => {
  function trafficWithClock() {
    let time = 5_000_000;
    const traffic = recentTraffic(() => time);
    return {
      advance(seconds: number) {
        time += seconds * 1000;
      },
      traffic,
    };
  }

  it('is empty at first', () => {
    expect(trafficWithClock().traffic.now()).toEqual({ active: 0, requestRate: 0, errorRate: 0 });
  });

  it('counts requests when they start and responses when they end, but no response of an aborted request', () => {
    const { traffic, advance } = trafficWithClock();
    for (let i = 0; i < 6; i++) traffic.begin();
    expect(traffic.now()).toEqual({ active: 6, requestRate: 0.1, errorRate: 0 });
    advance(30);
    for (const status of [200, 499, 500, 503, undefined]) traffic.end(status);
    expect(traffic.now()).toEqual({ active: 1, requestRate: 0.1, errorRate: 0.5 });
    advance(30);
    expect(traffic.now()).toEqual({ active: 1, requestRate: 0, errorRate: 0.5 });
    advance(30);
    expect(traffic.now()).toEqual({ active: 1, requestRate: 0, errorRate: 0 });
  });

  it('keeps each second for a minute, even after it has run for longer', () => {
    const { traffic, advance } = trafficWithClock();
    for (let second = 0; second < 200; second++) {
      traffic.begin();
      traffic.end(200);
      advance(1);
    }
    // The second that has just started is one of the sixty.
    expect(traffic.now().requestRate).toBe(59 / 60);
    advance(3600);
    expect(traffic.now().requestRate).toBe(0);
  });
});

describe('the log of the examples', () => {
  it.each<[Level | undefined, readonly string[]]>([
    ['DEBUG', ['INFO', 'WARNING', 'ERROR']],
    ['INFO', ['INFO', 'WARNING', 'ERROR']],
    ['WARNING', ['WARNING', 'ERROR']],
    ['ERROR', ['ERROR']],
    [undefined, ['INFO', 'WARNING', 'ERROR']],
  ])('writes lines of level %s and above', (level, written) => {
    const lines: string[] = [];
    const logger = textLogger((line) => lines.push(line), level);
    logger.info({}, 'a');
    logger.warn({}, 'b');
    logger.error({}, 'c');
    expect(lines.map((line) => line.split(' - ')[2])).toEqual(written);
  });
});
