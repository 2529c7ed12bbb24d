import { describe, expect, it } from 'vitest';
import { OptionError } from '../../../src/core/option.js';
import { memoryLedger } from '../../../src/observe/usage/memory-ledger.js';
import { type UsageReportOptions, usageReport } from '../../../src/observe/usage/usage-report.js';
import { ask } from '../../exchange-fixture.js';

const now = () => Date.UTC(2026, 10, 22, 12);

function filled() {
  const ledger = memoryLedger({ now });
  for (const [i, client] of ['ada', 'bob', 'grace'].entries()) {
    ledger.add([{ client, requests: i + 1, bytesIn: 10 - i }]);
    ledger.book([{ job: client, client, gpuTime: 100 * (3 - i), isFinal: true, end: 'finished' }]);
  }
  return ledger;
}

const report = async (query: string) => {
  const { status, body, contentType } = await ask(usageReport({ ledger: filled() }), { url: `/admin/usage${query}` });
  return { status, contentType, body: JSON.parse(body) };
};

describe('usageReport', () => {
  it('answers with all clients, those with the most GPU time first', async () => {
    const { status, contentType, body } = await report('');
    expect([status, contentType]).toEqual([200, 'application/json']);
    expect(body).toMatchObject({ today: '2026-11-22', day: null, offset: 0, limit: 100, total: 3 });
    expect(body.rows[0]).toEqual({
      client: 'ada',
      requests: 1,
      refusals: {},
      errors: 0,
      bytesIn: 10,
      bytesOut: 0,
      gpuTime: 300,
      jobsStarted: 0,
      jobsFinished: 1,
      jobsAborted: 0,
    });
  });

  it.each<[query: string, clients: readonly string[]]>([
    ['?sort=requests', ['grace', 'bob', 'ada']],
    ['?sort=client', ['ada', 'bob', 'grace']],
    ['?sort=bytesIn&limit=2', ['ada', 'bob']],
    ['?sort=requests&offset=2', ['ada']],
    ['?offset=5', []],
    ['?day=2026-11-22', ['ada', 'bob', 'grace']],
    ['?day=2026-11-21', []],
    ['?client=bob', ['bob']],
    ['?client=nobody', []],
  ])('%s', async (query, clients) => {
    const { status, body } = await report(query);
    expect(status).toBe(200);
    expect(body.rows.map(({ client }: { client: string }) => client)).toEqual(clients);
  });

  it.each<[query: string, reason: string]>([
    ['?day=2026-02-30', 'day must be a date such as 2026-11-22'],
    ['?day=today', 'day must be a date such as 2026-11-22'],
    ['?client=', 'client must be the id of a client'],
    ['?sort=__proto__', 'sort must be one of client, requests, errors, bytesIn, bytesOut, gpuTime, jobsStarted'],
    ['?offset=-1', 'offset must be a whole number from 0 to 1000000000'],
    ['?limit=0', 'limit must be a whole number from 1 to 1000'],
    ['?limit=1001', 'limit must be a whole number from 1 to 1000'],
    ['?limit=ten', 'limit must be a whole number from 1 to 1000'],
    ['?sorted=client', 'the parameters are day, client, sort, offset and limit'],
    ['?day=2026-11-22&day=2026-11-21', 'a parameter is there twice'],
  ])('refuses %s', async (query, reason) => {
    const { status, contentType, body } = await report(query);
    expect([status, contentType]).toEqual([400, 'application/problem+json']);
    expect(body).toMatchObject({ code: 'query-malformed', detail: 'The query of the URL cannot be used.', reason });
  });

  it('answers with a fault if the ledger cannot be read', async () => {
    const ledger = { ...filled(), read: () => Promise.reject(new Error('Redis is away')) };
    const { status, faults } = await ask(usageReport({ ledger }));
    expect(status).toBe(500);
    expect(faults).toMatchObject([{ message: 'Redis is away' }]);
  });

  it('refuses what is no ledger', () => {
    const make = () => usageReport({ ledger: undefined } as unknown as UsageReportOptions);
    expect(make).toThrow(OptionError);
    expect(make).toThrow('gatewarden: usageReport "ledger" must be a ledger');
  });
});
