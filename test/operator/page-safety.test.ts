import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { memoryOperatorStore, operatorControls, operatorPage } from '../../src/operator/index.js';
import type { ListedJob } from '../../src/operator/page-snapshot.js';
import { PageState } from '../../src/operator/page-state.js';
import { Traffic } from '../../src/operator/traffic.js';
import { ask, type HeaderLine, testExchange } from '../exchange-fixture.js';

const OLGA = { id: 'olga', scheme: 'test', scopes: [], credentialId: 'key-7' };

/** Sends an action to a page that lets everyone in, as from a private network. */
async function act(headers: readonly HeaderLine[], sink: (record: object) => unknown = () => undefined) {
  const store = memoryOperatorStore();
  const desk = operatorPage({
    admin: (exchange) => {
      exchange.principal = OLGA;
      return undefined;
    },
    controls: operatorControls({ store, sink }),
  });
  const { status, body, faults } = await ask(desk, {
    method: 'POST',
    url: '/admin/desk/actions/suspend',
    headers: [['host', 'Desk.example:8080'], ...headers],
    body: '{"client":"alice"}',
  });
  return { status, body: JSON.parse(body), faults, isSuspended: store.list().length === 1 };
}

const JSON_TYPE: HeaderLine = ['content-type', 'application/json'];

describe('an action', () => {
  it.each<[string, readonly HeaderLine[]]>([
    ['of a form that pretends', [['content-type', 'application/jsonp']]],
    ['without a type', []],
    ['of a page of another host', [JSON_TYPE, ['origin', 'http://evil.example']]],
    ['of a page of another port', [JSON_TYPE, ['origin', 'http://desk.example:8081']]],
    ['of a page without an origin', [JSON_TYPE, ['origin', 'null']]],
    [
      'of another site, though the browser has added a password that it keeps',
      [JSON_TYPE, ['origin', 'http://evil.example'], ['authorization', 'Basic b2xnYTpj']],
    ],
    [
      'of another site, whatever key it has',
      [JSON_TYPE, ['sec-fetch-site', 'cross-site'], ['authorization', 'Bearer key']],
    ],
    [
      'of a sibling host, whatever it names as its origin',
      [JSON_TYPE, ['sec-fetch-site', 'same-site'], ['origin', 'http://desk.example:8080']],
    ],
  ])('%s is refused', async (_what, headers) => {
    expect(await act(headers)).toMatchObject({
      status: 403,
      body: { code: 'operator-request-foreign' },
      isSuspended: false,
    });
  });

  it.each<[string, readonly HeaderLine[]]>([
    ['of the page itself', [JSON_TYPE, ['sec-fetch-site', 'same-origin'], ['origin', 'http://desk.example:8080']]],
    ['of the page over plain HTTP', [JSON_TYPE, ['origin', 'http://desk.example:8080']]],
    ['of a terminal', [['content-type', 'Application/JSON ; charset=utf-8']]],
    ['of a terminal with a password', [JSON_TYPE, ['authorization', 'Basic b2xnYTpj']]],
    [
      'of the page behind a proxy that changes the host, with its key',
      [JSON_TYPE, ['origin', 'https://desk.public.example'], ['authorization', 'bearer key']],
    ],
  ])('%s is done', async (_what, headers) => {
    expect(await act(headers)).toMatchObject({ status: 200, body: { result: 'done' }, isSuspended: true });
  });

  it.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('no log');
      },
    ],
    ['rejects', () => Promise.reject(new Error('no log'))],
  ])('tells the operator that it is not in the audit log if the sink %s', async (_what, sink) => {
    const { status, body, faults, isSuspended } = await act([JSON_TYPE], sink);
    expect([status, body.result, body.isRecorded, isSuspended]).toEqual([200, 'done', false, true]);
    expect(faults.map(String)).toEqual(['Error: no log']);
    expect((await act([JSON_TYPE])).body).not.toHaveProperty('isRecorded');
  });

  it('does not wait without end for the audit log', async () => {
    const controls = operatorControls({ store: memoryOperatorStore(), sink: () => new Promise(() => undefined) });
    const { exchange, faults } = testExchange({ principal: OLGA });
    const { result, isRecorded } = await controls.act(exchange, { action: 'suspend', client: 'alice' });
    expect([result, isRecorded]).toEqual(['done', false]);
    expect(String(faults[0])).toContain('the sink of operatorControls did not answer within 2000 ms');
  });

  it('returns whether it is in the audit log', async () => {
    const controls = operatorControls({ store: memoryOperatorStore(), sink: async () => 'written' });
    const { exchange } = testExchange({ principal: OLGA });
    expect(await controls.act(exchange, { action: 'suspend', client: 'alice' })).toMatchObject({ isRecorded: true });
    expect(controls.recent()[0]).not.toHaveProperty('isRecorded');
  });
});

describe('the traffic of a page', () => {
  it('counts an exchange once, also if it is watched for all routes and for its own', () => {
    const traffic = new Traffic(Date.now, () => 'alice');
    const { exchange } = testExchange();
    traffic.watch(exchange);
    traffic.watch(exchange);
    expect(traffic.inFlight).toBe(1);
    exchange.end({ kind: 'completed', status: 200 });
    expect(traffic.inFlight).toBe(0);
    expect(traffic.clients.top(1)).toMatchObject([{ requests: 1 }]);
  });

  it('shows the first 100 that wait, and how many there are', async () => {
    const traffic = new Traffic(Date.now, ({ principal }) => principal?.id);
    for (let i = 0; i < 250; i++) {
      const { exchange } = testExchange({ principal: { ...OLGA, id: `client-${i}` } });
      traffic.watch(exchange);
      exchange.queuePlace = { position: i + 1, expectedWait: undefined };
      exchange.observer?.waiting?.(exchange, 1);
    }
    const state = new PageState({
      name: undefined,
      traffic,
      controls: undefined,
      ledger: undefined,
      slots: [],
      timeLimits: [],
      jobs: undefined,
      health: {},
      now: Date.now,
    });
    const { waiting, waitingTotal } = await state.snapshot(() => undefined);
    expect([waiting.length, waitingTotal]).toEqual([100, 250]);
    expect(waiting.at(-1)?.client).toBe('client-99');
  });
});

it('the page lets nothing in but its own files, and makes no markup of a text', async () => {
  const desk = operatorPage({ admin: () => undefined });
  for (const name of ['', 'desk.js', 'uplot.css', 'icon.svg']) {
    const { replyHeaders } = await ask(desk, { url: `/admin/desk/${name}` });
    expect(replyHeaders['Content-Security-Policy']?.split('; ')).toEqual([
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "img-src 'self'",
      "connect-src 'self'",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "require-trusted-types-for 'script'",
      "trusted-types 'none'",
    ]);
    expect(replyHeaders['Cross-Origin-Opener-Policy']).toBe('same-origin');
    expect(replyHeaders['Cross-Origin-Resource-Policy']).toBe('same-origin');
  }
});

it('the files of the page make no markup of a text', () => {
  const folder = new URL('../../src/operator/page/', import.meta.url);
  const scripts = readdirSync(folder).filter((name) => name.endsWith('.js'));
  expect(scripts.length).toBeGreaterThan(3);
  for (const name of scripts) {
    expect(readFileSync(new URL(name, folder), 'utf8')).not.toMatch(
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|setAttribute\('(?:on|href|src)/,
    );
  }
});

it('the page shows nothing of a job that belongs to its owner', async () => {
  const state = new PageState({
    name: undefined,
    traffic: new Traffic(Date.now, () => undefined),
    controls: undefined,
    ledger: undefined,
    slots: [],
    timeLimits: [],
    jobs: {
      list: () => [
        {
          id: 'a',
          owner: 'principal:alice',
          state: 'succeeded',
          createdAt: 1,
          result: 'c4n4ry-result',
          files: ['c4n4ry-file'],
          progress: { fraction: 1, message: 'done', detail: 'c4n4ry-progress' },
          problem: { code: 'job-lost', detail: 'c4n4ry-problem' },
        } as ListedJob,
      ],
    },
    health: {},
    now: Date.now,
  });
  const { jobs } = await state.snapshot(() => undefined);
  expect(jobs).toMatchObject([{ id: 'a', owner: 'principal:alice', progress: { fraction: 1, message: 'done' } }]);
  expect(JSON.stringify(jobs)).not.toContain('c4n4ry');
});
