import { describe, expect, it } from 'vitest';
import type { Exchange } from '../../src/core/exchange.js';
import { History, INTERVAL } from '../../src/operator/history.js';
import { RecentClients } from '../../src/operator/recent-clients.js';
import { Traffic } from '../../src/operator/traffic.js';
import { ManualClock } from '../contracts/limit-store.js';
import { testExchange } from '../exchange-fixture.js';

const NOW = Date.UTC(2026, 10, 22, 3);
const principal = (id: string) => ({ id, scheme: 'test', scopes: [], credentialId: id });

describe('the history of the page', () => {
  it('has one hour, by steps of ten seconds, and nothing for steps in which nothing happened', () => {
    const clock = new ManualClock(NOW);
    const history = new History(clock.now);
    for (let i = 0; i < 1000; i++) {
      clock.set(NOW + i * INTERVAL * 2);
      history.current.requests++;
    }
    const buckets = history.since(0);
    expect(buckets).toHaveLength(181);
    expect(buckets.at(-1)).toMatchObject({ at: NOW + 999 * INTERVAL * 2, requests: 1, refusals: {} });
    expect(history.since(buckets.at(-1)?.at ?? 0)).toHaveLength(1);
  });

  it('counts on in the newest step if the clock is set back', () => {
    const clock = new ManualClock(NOW);
    const history = new History(clock.now);
    history.refused('quota-exceeded');
    clock.set(NOW - 60_000);
    history.refused('quota-exceeded');
    clock.set(NOW);
    expect(history.since(0)).toMatchObject([{ at: NOW, refusals: { 'quota-exceeded': 2 } }]);
  });

  it('has room for so many codes, whatever they are called', () => {
    const history = new History(new ManualClock(NOW).now);
    history.refused('__proto__');
    for (let i = 0; i < 100; i++) history.refused(`code-${i}`);
    const refusals = history.since(0)[0]?.refusals ?? {};
    expect(Object.keys(refusals)).toHaveLength(41);
    expect(refusals).toMatchObject({ 'code-38': 1, other: 61 });
    expect(Object.entries(refusals)[0]).toEqual(['__proto__', 1]);
  });
});

describe('the clients of the page', () => {
  it('are the last 500, in the order of what they cost', () => {
    const clients = new RecentClients();
    for (let i = 0; i < 600; i++) clients.of(`client-${i}`).requests = i;
    clients.of('client-200').gpuTime = 5;
    expect(clients.size).toBe(500);
    expect(clients.top(2).map(({ client }) => client)).toEqual(['client-200', 'client-599']);
    expect(clients.of('client-3').requests).toBe(0);
  });
});

describe('the traffic of the page', () => {
  function scene() {
    const clock = new ManualClock(NOW);
    const traffic = new Traffic(clock.now, ({ principal: client }) => client?.id);
    const enter = (id?: string) => {
      const { exchange } = testExchange({
        url: '/generate?key=c4n4ry',
        principal: id === undefined ? id : principal(id),
      });
      exchange.requestId = `request-of-${id}`;
      traffic.watch(exchange);
      return exchange;
    };
    return { clock, traffic, enter };
  }
  const observer = (exchange: Exchange) => exchange.observer as Required<NonNullable<Exchange['observer']>>;

  it('counts refusals by code, errors, and requests of each client', () => {
    const { traffic, enter } = scene();
    enter('alice').end({ kind: 'completed', status: 200 });
    enter('alice').end({ kind: 'refused', status: 429, code: 'quota-exceeded' });
    enter('alice').end({ kind: 'completed', status: 500 });
    enter('alice').abort();
    enter().end({ kind: 'refused', status: 401, code: 'credentials-missing' });
    enter().end({ kind: 'refused', status: 204, code: undefined });
    expect(traffic.inFlight).toBe(0);
    expect(traffic.history.since(0)).toMatchObject([
      { requests: 6, errors: 1, refusals: { 'quota-exceeded': 1, 'credentials-missing': 1 } },
    ]);
    expect(traffic.clients.top(9)).toMatchObject([
      { client: 'alice', requests: 4, refused: 1, errors: 1 },
      { client: 'anonymous', requests: 2, refused: 1, errors: 0 },
    ]);
  });

  it('knows who waits and at which place, what is held, and what a worker does, until all of it has ended', () => {
    const { clock, traffic, enter } = scene();
    const [alice, bob] = [enter('alice'), enter('bob')];
    observer(bob).waiting(bob, 1);
    observer(alice).waiting(alice, 1);
    bob.queuePlace = { position: 2, expectedWait: 3000 };
    alice.queuePlace = { position: 1, expectedWait: undefined };
    expect(traffic.waiting).toEqual([
      { client: 'alice', since: NOW, position: 1, expectedWait: undefined },
      { client: 'bob', since: NOW, position: 2, expectedWait: 3000 },
    ]);
    observer(alice).waiting(alice, -1);
    observer(alice).held(alice, 'gpu-slots', 1);
    observer(alice).jobStarted(alice);
    expect([traffic.inFlight, traffic.held]).toEqual([2, { 'gpu-slots': 1 }]);
    expect(traffic.runs).toEqual([
      {
        id: 'request-of-alice',
        client: 'alice',
        path: '/generate',
        startedAt: NOW,
        endedAt: undefined,
        state: 'running',
      },
    ]);
    clock.set(NOW + 2000);
    observer(alice).jobEnded(alice, 'failed', 2000);
    observer(alice).gpuTime(alice, 2000);
    observer(alice).held(alice, 'gpu-slots', -1);
    observer(bob).waiting(bob, -1);
    for (const exchange of [alice, bob]) exchange.end({ kind: 'completed', status: 200 });
    expect(traffic.runs).toMatchObject([{ state: 'failed', endedAt: NOW + 2000 }]);
    expect([traffic.inFlight, traffic.held, traffic.waiting]).toEqual([0, {}, []]);
    expect(traffic.clients.top(1)).toMatchObject([{ client: 'alice', gpuTime: 2000 }]);
    expect(traffic.history.since(0)).toMatchObject([{ waiting: 2, gpuTime: 2000 }]);
  });

  it('shows the jobs that run before the newest of those that have ended, and 50 in all', () => {
    const { traffic, enter } = scene();
    const running = enter('alice');
    observer(running).jobStarted(running);
    for (let i = 0; i < 60; i++) {
      const exchange = enter(`client-${i}`);
      observer(exchange).jobStarted(exchange);
      observer(exchange).jobEnded(exchange, 'completed', 1);
    }
    expect(traffic.runs).toHaveLength(50);
    expect(traffic.runs.slice(0, 2).map(({ client, state }) => [client, state])).toEqual([
      ['alice', 'running'],
      ['client-59', 'completed'],
    ]);
  });

  it('calls a client anonymous of whom the service cannot say anything', () => {
    const clock = new ManualClock(NOW);
    const traffic = new Traffic(clock.now, () => {
      throw new Error('no client');
    });
    const { exchange, faults } = testExchange();
    traffic.watch(exchange);
    exchange.end({ kind: 'completed', status: 200 });
    expect(traffic.clients.top(1)).toMatchObject([{ client: 'anonymous' }]);
    expect(faults).toEqual([]);
  });
});
