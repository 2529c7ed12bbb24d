import { describe, expect, it } from 'vitest';
import { recentTraffic } from '../../examples/sam-service/traffic.js';
import { clientUsage, topClients } from '../../examples/sam-service/usage.js';
import { type Level, textLogger } from '../../examples/text-logger.js';
import { memoryLedger } from '../../src/index.js';

describe('the usage of each client', () => {
  const request = (client: string, more: object = {}) => ({ client, requests: 1, ...more });

  it('adds up requests and seconds, without the requests that were not admitted', async () => {
    const ledger = memoryLedger();
    for (const refusal of [undefined, 'quota-exceeded', 'upload-undecodable'])
      ledger.add([request('one', { refusal })]);
    ledger.add([request('two'), request('anonymous', { refusal: 'credentials-invalid' })]);
    for (let i = 0; i < 3; i++) {
      ledger.book([{ job: String(i), client: 'one', gpuTime: 1000 + i, isFinal: true, end: 'finished' }]);
    }
    expect(await clientUsage(ledger)).toEqual({
      one: { requests: 2, gpu_time: 3.003 },
      two: { requests: 1, gpu_time: 0 },
    });
  });

  it.each(['__proto__', 'constructor', 'toString'])('accepts %s as the id of a client', async (id) => {
    const ledger = memoryLedger();
    ledger.add([request(id), request('other')]);
    const usage = await clientUsage(ledger);
    expect(Object.keys(usage).sort()).toEqual([id, 'other'].sort());
    expect(JSON.stringify(usage)).toContain(`"${id}":{"requests":1,"gpu_time":0}`);
    expect(Object.getPrototypeOf(usage)).toBe(Object.prototype);
    expect({}).not.toHaveProperty('requests');
  });

  it('has all clients, however many pages of the ledger they are', async () => {
    const ledger = memoryLedger();
    ledger.add(Array.from({ length: 2500 }, (_, i) => request(`client-${i}`)));
    expect(Object.keys(await clientUsage(ledger))).toHaveLength(2500);
  });

  it('lists the clients with the most requests, in descending order', async () => {
    const ledger = memoryLedger();
    ledger.add(['one', 'two', 'two', 'three', 'three', 'three'].map((client) => request(client)));
    expect(await topClients(ledger, 'requests', 2)).toEqual([
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
