import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { authenticate, limit, sequence, sharedSecret, slidingWindow } from '../../src/index.js';
import { memoryJobStore } from '../../src/jobs/index.js';
import {
  type Measure,
  memoryOperatorStore,
  type OperatorControlsOptions,
  type OperatorRecord,
  type OperatorStore,
  operatorControls,
  operatorPage,
} from '../../src/operator/index.js';
import { ManualClock } from '../contracts/limit-store.js';
import { measure } from '../contracts/operator-store.js';
import { ask, testExchange } from '../exchange-fixture.js';
import { failing } from '../failing.js';

const principal = (id: string) => ({ id, scheme: 'test', scopes: [], credentialId: `key-of-${id}` });
const ALICE = principal('alice');
const NOW = measure().since;
const sink = () => undefined;

/** A store that counts how often it is read, and fails or waits on demand. */
function countedStore() {
  const inner = memoryOperatorStore();
  const seen = { reads: 0, fails: false, isAsync: false };
  const store: OperatorStore = {
    ...inner,
    list() {
      seen.reads++;
      if (seen.fails) {
        if (seen.isAsync) return Promise.reject(new Error('the store is away'));
        throw new Error('the store is away');
      }
      return seen.isAsync ? Promise.resolve(inner.list()) : inner.list();
    },
  };
  return { store, seen, inner };
}

function scene(options: Partial<OperatorControlsOptions> = {}) {
  const { store, seen, inner } = countedStore();
  const clock = new ManualClock(NOW);
  const controls = operatorControls({ store, sink, now: clock.now, ...options });
  const answer = async (id = 'alice') => {
    const { status, body, passed, exchange, faults } = await ask(controls, { principal: principal(id) });
    return {
      status,
      code: body === '' ? undefined : JSON.parse(body).code,
      passed,
      exceeds: exchange.exceedsQuotas,
      faults,
    };
  };
  return {
    controls,
    store,
    seen,
    inner,
    clock,
    answer,
    operator: testExchange({ principal: principal('olga') }).exchange,
  };
}

describe('operatorControls', () => {
  it('refuses a suspended client with a 403 that says who to ask, and no other client', async () => {
    const { inner, answer, controls } = scene();
    inner.add(measure());
    expect(await answer()).toMatchObject({ status: 403, code: 'client-suspended' });
    expect(await answer('bob')).toMatchObject({ passed: true, exceeds: false });
    const { body } = await ask(controls, { principal: ALICE });
    expect(JSON.parse(body)).toEqual({
      status: 403,
      title: 'Forbidden',
      detail: 'This client is suspended. Ask the operator of this service.',
      code: 'client-suspended',
    });
  });

  it('answers without a promise from a store that does', () => {
    const { controls, inner } = scene();
    inner.add(measure({ client: 'bob' }));
    const { exchange } = testExchange({ principal: ALICE });
    expect(controls(exchange)).toBeUndefined();
    expect(controls(testExchange({ principal: principal('bob') }).exchange)).toMatchObject({ status: 403 });
  });

  it('lets an allowance end by itself', async () => {
    const { inner, answer, clock } = scene();
    inner.add(measure({ kind: 'exceeds-quotas', until: NOW + 3_600_000 }));
    expect(await answer()).toMatchObject({ passed: true, exceeds: true });
    clock.set(NOW + 3_599_999);
    expect(await answer()).toMatchObject({ exceeds: true });
    clock.set(NOW + 3_600_000);
    expect(await answer()).toMatchObject({ passed: true, exceeds: false });
  });

  it('sees a change by another process after maxAge, asks no more often, and its own change at once', async () => {
    const { inner, answer, clock, seen, controls, operator } = scene();
    for (let i = 0; i < 100; i++) await answer();
    expect(seen.reads).toBe(1);
    inner.add(measure());
    clock.set(NOW + 499);
    // Read again in the background from half of that age on.
    await answer();
    expect(seen.reads).toBe(2);
    clock.set(NOW + 500);
    expect(await answer()).toMatchObject({ status: 403 });
    await controls.act(operator, { action: 'resume', client: 'alice' });
    expect(await answer()).toMatchObject({ passed: true });
    expect(seen.reads).toBe(3);
  });

  it('does not use what was read before its own change', async () => {
    const { inner, seen, controls, clock, operator } = scene();
    seen.isAsync = true;
    let release = () => undefined as unknown;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const slow = operatorControls({
      store: {
        ...inner,
        list: () => held.then(() => [] as readonly Measure[]).then((old) => (slowReads++ === 0 ? old : inner.list())),
      },
      sink,
      now: clock.now,
    });
    let slowReads = 0;
    const early = ask(slow, { principal: ALICE });
    await slow.act(operator, { action: 'suspend', client: 'alice' });
    release();
    await early;
    expect((await ask(slow, { principal: ALICE })).status).toBe(403);
    expect(controls.actions).toEqual(['suspend', 'resume', 'allow', 'disallow']);
  });

  it.each([[false], [true]])('refuses everybody while the store cannot be read (asynchronous: %s)', async (isAsync) => {
    const { answer, seen, clock } = scene();
    Object.assign(seen, { fails: true, isAsync });
    const first = await answer();
    expect(first).toMatchObject({ status: 503, code: 'controls-unavailable', passed: false });
    expect(first.faults.map(String)).toEqual(['Error: the store is away']);
    for (let i = 0; i < 20; i++) expect(await answer()).toMatchObject({ status: 503 });
    // A store that is away is not asked by every request.
    expect(seen.reads).toBe(1);
    seen.fails = false;
    clock.set(NOW + 500);
    expect(await answer()).toMatchObject({ passed: true });
  });

  it('refuses at the end of maxAge, not before, what it could read before', async () => {
    const { answer, seen, clock } = scene();
    await answer();
    seen.fails = true;
    clock.set(NOW + 499);
    expect(await answer()).toMatchObject({ passed: true });
    clock.set(NOW + 500);
    expect(await answer()).toMatchObject({ status: 503 });
    clock.set(NOW - 1);
    expect(await answer()).toMatchObject({ status: 503 });
  });

  it("uses the last known measures if 'last-known' says so, and none only if there were some", async () => {
    const { answer, seen, clock, inner } = scene({ onStoreFailure: 'last-known' });
    seen.fails = true;
    expect(await answer()).toMatchObject({ status: 503 });
    seen.fails = false;
    inner.add(measure());
    clock.set(NOW + 1000);
    expect(await answer()).toMatchObject({ status: 403 });
    seen.fails = true;
    clock.set(NOW + 60_000);
    expect(await answer()).toMatchObject({ status: 403 });
    expect(await answer('bob')).toMatchObject({ passed: true });
  });

  it.each([
    ['principal', {}],
    ['client-ip', { by: 'client-ip' }],
    ['a function that returns nothing', { by: () => '' }],
    ['a function that returns a promise', { by: async () => 'alice' }],
  ])('refuses every request without a client: %s', async (_what, options) => {
    const controls = operatorControls({ store: memoryOperatorStore(), sink, ...(options as object) });
    const { status, faults } = await ask(sequence(controls), { principal: undefined });
    expect(status).toBe(500);
    expect(String(faults[0])).toContain('operatorControls finds no client of this request');
  });

  it('knows clients by their address, or by what a function returns', async () => {
    const store = memoryOperatorStore();
    store.add(measure({ client: '127.0.0.1' }));
    store.add(measure({ client: 'anonymous' }));
    const byAddress = operatorControls({ store, sink, by: 'client-ip' });
    const { exchange } = testExchange();
    exchange.clientIp = { ip: '127.0.0.1', key: '127.0.0.1', reason: 'socket' } as never;
    expect(byAddress(exchange)).toMatchObject({ status: 403 });
    const byFunction = operatorControls({ store, sink, by: (one) => one.principal?.id ?? 'anonymous' });
    expect((await ask(byFunction)).status).toBe(403);
    expect((await ask(byFunction, { principal: ALICE })).passed).toBe(true);
  });

  it('knows after a restart what its file knows', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'gatewarden-controls-'));
    const start = () =>
      operatorControls({ store: memoryOperatorStore({ file: join(directory, 'operator.json') }), sink });
    try {
      const { exchange } = testExchange({ principal: principal('olga') });
      const before = start();
      await before.act(exchange, { action: 'suspend', client: 'alice' });
      await before.act(exchange, { action: 'allow', client: 'bob' });
      const after = start();
      expect((await ask(after, { principal: ALICE })).status).toBe(403);
      expect((await ask(after, { principal: principal('bob') })).exchange.exceedsQuotas).toBe(true);
      expect(await after.measures()).toHaveLength(2);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('must come after authenticate', () => {
    const entrance = authenticate(sharedSecret({ secrets: ['c4n4ry-secret-0123456789-0123456789'] }));
    const controls = operatorControls({ store: memoryOperatorStore(), sink });
    expect(() => sequence(controls, entrance)).toThrow(
      'gatewarden: put authenticate(...) before operatorControls(...): it knows clients by their principal',
    );
    sequence(entrance, controls);
  });

  it('records what a client or an operator is called without a line break', async () => {
    const records: OperatorRecord[] = [];
    const { controls } = scene({ sink: (record) => records.push(record) });
    const { exchange } = testExchange({ principal: principal('ol\nga') });
    await controls.act(exchange, { action: 'suspend', client: 'a\r\nb\u202e' });
    expect(records).toMatchObject([{ client: 'a??b?', by: 'ol?ga' }]);
    expect(controls.recent()).toEqual(records);
  });

  it.each(failing('no log'))('does what it was asked if the sink %s, and reports a fault', async (_what, broken) => {
    const { controls, inner } = scene({ sink: broken });
    const { exchange, faults } = testExchange({ principal: principal('olga') });
    expect(await controls.act(exchange, { action: 'suspend', client: 'alice' })).toMatchObject({ result: 'done' });
    expect(inner.list()).toHaveLength(1);
    expect(faults.map(String)).toEqual(['Error: no log']);
  });

  it('says that a full store has failed', async () => {
    const { exchange, faults } = testExchange({ principal: principal('olga') });
    const controls = operatorControls({ store: memoryOperatorStore({ maxEntries: 1 }), sink });
    expect(await controls.act(exchange, { action: 'suspend', client: 'a' })).toMatchObject({ result: 'done' });
    expect(await controls.act(exchange, { action: 'suspend', client: 'b' })).toMatchObject({ result: 'failed' });
    expect(String(faults)).toContain('the operator store has no room for another measure');
  });

  it('refuses an operator without a name, and what it cannot do', async () => {
    const { controls, operator } = scene();
    await expect(controls.act(testExchange().exchange, { action: 'suspend', client: 'a' })).rejects.toThrow(
      'operatorControls does not know who acts',
    );
    for (const [action, message] of [
      [{ action: 'reset', client: 'a' }, '"action" must be one of suspend, resume, allow, disallow, got \'reset\''],
      [{ action: 'suspend', client: '' }, '"client" must be 1 to 1024 characters'],
      [{ action: 'cancel-job', job: 'x' }, '"action" must be one of suspend'],
    ] as const) {
      await expect(controls.act(operator, action)).rejects.toThrow(message);
    }
    expect(controls.recent()).toEqual([]);
  });

  it('keeps the newest 50 actions', async () => {
    const { controls, operator } = scene();
    for (let i = 0; i < 60; i++) await controls.act(operator, { action: 'suspend', client: `client-${i}` });
    expect(controls.recent()).toHaveLength(50);
    expect(controls.recent()[0]?.client).toBe('client-59');
  });

  it('agrees with a plain list of who is suspended and allowed, whatever is done in which order', async () => {
    const step = fc.record({
      action: fc.constantFrom('suspend', 'resume', 'allow', 'disallow', 'wait'),
      client: fc.constantFrom('alice', 'bob'),
      time: fc.integer({ min: 0, max: 5000 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const { controls, clock, answer, operator } = scene({ allowance: '5s' });
        const suspended = new Set<string>();
        const until = new Map<string, number>();
        let now = NOW;
        for (const { action, client, time } of steps) {
          now += time;
          clock.set(now);
          if (action !== 'wait') await controls.act(operator, { action, client });
          if (action === 'suspend') suspended.add(client);
          if (action === 'resume') suspended.delete(client);
          if (action === 'allow' && (until.get(client) ?? 0) <= now) until.set(client, now + 5000);
          if (action === 'disallow') until.delete(client);
          for (const one of ['alice', 'bob']) {
            const { status, exceeds } = await answer(one);
            const isSuspended = suspended.has(one);
            expect([status, exceeds]).toEqual([
              isSuspended ? 403 : undefined,
              !isSuspended && (until.get(one) ?? 0) > now,
            ]);
          }
        }
      }),
      { numRuns: Number(process.env.PROPERTY_RUNS ?? 100) },
    );
  });

  it.each([
    [{ store: {} }, '"store" must be a store such as memoryOperatorStore()'],
    [{ sink: undefined }, '"sink" must be a function, got undefined'],
    [{ by: 'key' }, "\"by\" must be 'principal', 'client-ip' or a function that returns a client, got 'key'"],
    [{ limits: { day: {} } }, '"limits.day" must be a limit(...) guard, or have peek and reset'],
    [{ jobs: {} }, '"jobs" must be a job store such as memoryJobStore()'],
    [{ allowance: 3600 }, '"allowance" needs a unit, got 3600'],
    [{ allowance: '8d' }, '"allowance" must be at most \'7d\''],
    [{ maxAge: '1ms' }, '"maxAge" must be at least \'10ms\''],
    [{ onStoreFailure: 'admit' }, '"onStoreFailure" must be one of refuse, last-known, got \'admit\''],
    [{ ledger: 1 }, 'has no option "ledger"'],
  ])('refuses the options %j', (options, message) => {
    expect(() => operatorControls({ store: memoryOperatorStore(), sink, ...(options as object) })).toThrow(
      `gatewarden: operatorControls ${message}`,
    );
  });

  it('takes limits and a job store as they are', () => {
    const perDay = limit({ by: 'principal', policies: slidingWindow({ limit: 1, window: '1d' }) });
    const controls = operatorControls({
      store: memoryOperatorStore(),
      sink,
      limits: { perDay },
      jobs: memoryJobStore(),
    });
    expect(controls.actions).toEqual(['suspend', 'resume', 'allow', 'disallow', 'reset', 'cancel-job']);
  });
});

describe('operatorPage', () => {
  it.each([
    [{ admin: undefined }, '"admin" must be a guard such as sequence(authenticate(...), requireScope(...))'],
    [{ path: '/admin/desk/' }, '"path" must be a path such as \'/admin/desk\', without a slash at its end'],
    [{ path: 'desk' }, '"path" must be a path such as'],
    [{ path: '' }, '"path" must be a path such as'],
    [{ controls: {} }, '"controls" must be operatorControls({ ... })'],
    [{ ledger: {} }, '"ledger" must be a ledger such as memoryLedger()'],
    [{ slots: [{}] }, '"slots" must be a list of limit(...) guards with by: \'global\''],
    [{ timeLimits: [1] }, '"timeLimits" must be a list of names'],
    [{ jobs: {} }, '"jobs" must be a job store with the verb list'],
    [{ health: { worker: true } }, '"health" must be an object of functions by name'],
    [{ maxStreams: 0 }, '"maxStreams" must be a positive integer, got 0'],
    [{ secret: 'x' }, 'has no option "secret"'],
  ])('refuses the options %j', (options, message) => {
    expect(() => operatorPage({ admin: () => undefined, ...(options as object) })).toThrow(
      `gatewarden: operatorPage ${message}`,
    );
  });
});
