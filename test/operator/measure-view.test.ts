import { describe, expect, it } from 'vitest';
import { type Measure, memoryOperatorStore, type OperatorStore, operatorControls } from '../../src/operator/index.js';
import { ManualClock } from '../contracts/limit-store.js';
import { measure } from '../contracts/operator-store.js';
import { ask, testExchange } from '../exchange-fixture.js';

const NOW = measure().since;
const principal = (id: string) => ({ id, scheme: 'test', scopes: [], credentialId: `key-of-${id}` });

/** A store whose reads the test answers one by one. */
function scene() {
  const inner = memoryOperatorStore();
  const clock = new ManualClock(NOW);
  const reads: { answer(measures?: readonly Measure[]): void; fail(): void }[] = [];
  const store: OperatorStore = {
    ...inner,
    list: () =>
      new Promise<readonly Measure[]>((resolve, reject) => {
        reads.push({
          answer: (measures = inner.list()) => resolve(measures),
          fail: () => reject(new Error('the store is away')),
        });
      }),
  };
  const controls = operatorControls({ store, sink: () => undefined, now: clock.now });
  const suspend = () =>
    controls.act(testExchange({ principal: principal('olga') }).exchange, { action: 'suspend', client: 'alice' });
  const enter = async () => (await ask(controls, { principal: principal('alice') })).status;
  return { inner, clock, reads, suspend, enter };
}

describe('the copy of the measures', () => {
  it('that was being read before a suspension lets no request in after it', async () => {
    const { inner, reads, suspend, enter } = scene();
    const early = enter();
    const old = inner.list();
    await suspend();
    const late = enter();
    expect(reads).toHaveLength(2);
    reads[0]?.answer(old);
    reads[1]?.answer();
    expect([await early, await late]).toEqual([undefined, 403]);
  });

  it('is read again at once after a change, also if an earlier read has failed meanwhile', async () => {
    const { reads, suspend, enter } = scene();
    const early = enter();
    await suspend();
    reads[0]?.fail();
    expect(await early).toBe(503);
    const late = enter();
    reads[1]?.answer();
    expect(await late).toBe(403);
  });

  it('is read again if the clock was set back since a failure', async () => {
    const { clock, reads, enter } = scene();
    const early = enter();
    reads[0]?.fail();
    expect(await early).toBe(503);
    clock.set(NOW - 60_000);
    const late = enter();
    reads[1]?.answer();
    expect(await late).toBeUndefined();
  });
});

it("with 'last-known', a change by this process holds although the store could not be read since", async () => {
  const inner = memoryOperatorStore();
  let isAway = false;
  const controls = operatorControls({
    store: {
      ...inner,
      list: () => {
        if (isAway) throw new Error('the store is away');
        return inner.list();
      },
    },
    sink: () => undefined,
    onStoreFailure: 'last-known',
    now: () => NOW,
  });
  const operator = testExchange({ principal: principal('olga') }).exchange;
  const enter = async (id: string) => (await ask(controls, { principal: principal(id) })).status;
  await controls.act(operator, { action: 'suspend', client: 'bob' });
  expect([await enter('alice'), await enter('bob')]).toEqual([undefined, 403]);
  isAway = true;
  await controls.act(operator, { action: 'suspend', client: 'alice' });
  await controls.act(operator, { action: 'resume', client: 'bob' });
  expect([await enter('alice'), await enter('bob')]).toEqual([403, undefined]);
});
