import { expect, it } from 'vitest';
import { UsageAccount } from '../../../src/core/usage-account.js';
import { memoryLedger } from '../../../src/observe/usage/memory-ledger.js';
import { meterUsage } from '../../../src/observe/usage/meter-usage.js';
import { testExchange } from '../../exchange-fixture.js';

it.each([
  ['1099511627776', 1_099_511_627_776],
  ['1099511627777', 0],
  ['9007199254740991', 0],
])('a Content-Length of %s counts as %d bytes', async (length, bytesIn) => {
  const ledger = memoryLedger();
  const { exchange } = testExchange({ headers: [['content-length', length]] });
  await meterUsage({ ledger })(exchange);
  exchange.end({ kind: 'completed', status: 200 });
  expect(ledger.read().rows).toMatchObject([{ bytesIn }]);
});

it('no bytes are subtracted when a connection restarts its count', async () => {
  const ledger = memoryLedger();
  const { exchange } = testExchange();
  let written = 1000;
  Object.defineProperty(exchange.request, 'bytesWritten', { get: () => written });
  await meterUsage({ ledger })(exchange);
  written = 10;
  exchange.end({ kind: 'completed', status: 200 });
  expect(ledger.read().rows).toMatchObject([{ requests: 1, bytesOut: 0 }]);
});

it('a ledger that rejects what an exchange books is a fault, and nothing else', async () => {
  const faults: unknown[] = [];
  const rejecting = { ...memoryLedger(), book: () => Promise.reject(new Error('Redis is away')) };
  const account = new UsageAccount(rejecting, { principal: undefined, fault: (error) => void faults.push(error) });
  account.book({ job: 'a', client: 'ada', gpuTime: 5, isFinal: true });
  account.flush();
  await new Promise(setImmediate);
  expect(faults.map(String)).toEqual(['Error: Redis is away']);
});

it('a page has at most 1000 rows, and rows with equal figures in the order of their names', () => {
  const ledger = memoryLedger();
  const names = Array.from({ length: 1200 }, (_, i) => `client-${String(i).padStart(4, '0')}`);
  ledger.add(names.toReversed().map((client) => ({ client, requests: 1 })));
  const { rows, total } = ledger.read({ sort: 'requests', limit: 5000 });
  expect([rows.length, total]).toEqual([1000, 1200]);
  expect(rows.map(({ client }) => client)).toEqual(names.slice(0, 1000));
});
