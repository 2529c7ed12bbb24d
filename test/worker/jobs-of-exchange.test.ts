import { expect, it, onTestFinished, vi } from 'vitest';
import { concurrency, gpuTime, limit, slidingWindow } from '../../src/index.js';
import { deadline, type WorkerEvent, worker } from '../../src/worker/index.js';
import { testExchange } from '../exchange-fixture.js';
import { HeldAdmission } from './held.js';
import { sleepingWorker } from './scene.js';

function started() {
  const { exchange, faults } = testExchange({ method: 'POST' });
  onTestFinished(() => exchange.end({ kind: 'completed', status: 200 }));
  return { exchange, faults };
}
const GPU = { limit: '10m', window: '1h', estimate: '1m' } as const;

it('lets jobs at two workers end only their own slots, and adds up their GPU time', async () => {
  const scenes = [await sleepingWorker(), await sleepingWorker()] as const;
  const [a, b] = [worker({ url: scenes[0].url, slots: 'a' }), worker({ url: scenes[1].url, slots: 'b' })];
  const slots = ['a', 'b'].map((name) => concurrency({ name, limit: 1, by: 'global' }));
  const entrance = limit({ by: () => 'k', policies: [...slots, gpuTime(GPU)] });
  const another = async () => (await entrance(started().exchange))?.problem?.code;
  const { exchange, faults } = started();
  await entrance(exchange);
  expect(await a.run(exchange, { path: '/job', body: '300' })).toMatchObject({ kind: 'done' });
  const second = b.run(exchange, { path: '/job', body: '400' });
  await vi.waitFor(() => expect(scenes[1].seen.running).toBe(1));
  expect(await another()).toBe('capacity-exceeded');
  expect(exchange.admission?.holds.map(({ policy }) => policy)).toEqual(['b', 'gpu-time']);
  expect(await second).toMatchObject({ kind: 'done' });
  expect(exchange.admission?.holds).toEqual([]);
  const [state] = (await entrance.peek('k')).filter(({ name }) => name === 'gpu-time');
  expect(600_000 - (state?.remaining ?? 0)).toBeGreaterThanOrEqual(700);
  expect(600_000 - (state?.remaining ?? 0)).toBeLessThan(5000);
  expect(faults).toEqual([]);
});

it('settles GPU time at the end of the exchange if a slot was left for another job', async () => {
  const scene = await sleepingWorker();
  const admission = new HeldAdmission({ policy: 'a' }, { policy: 'b' }, { kind: 'gpu-time', policy: 'gpu' });
  const { exchange } = started();
  exchange.admission = admission;
  await worker({ url: scene.url, slots: 'a' }).run(exchange, { path: '/job', body: '100' });
  expect(admission.done).toEqual([{ settle: { a: 0 } }]);
  exchange.end({ kind: 'completed', status: 200 });
  expect(admission.done).toEqual([{ settle: { a: 0 } }, { settle: { gpu: expect.any(Number) } }]);
});

it('does not refund what one of two jobs has used when the other fails', async () => {
  const scene = await sleepingWorker();
  const admission = new HeldAdmission({ policy: 'a' }, { policy: 'b', token: Date.now() + 1 });
  const { exchange } = started();
  exchange.admission = admission;
  await worker({ url: scene.url, slots: 'a' }).run(exchange, { path: '/job', body: '1' });
  await worker({ url: scene.url, slots: 'b' }).run(exchange, { path: '/job', body: 'fail' });
  expect(admission.done).toEqual([{ settle: { a: 0 } }, { settle: { b: 0 } }]);
});

it('runs no job in a slot that was released', async () => {
  const scene = await sleepingWorker();
  const entrance = limit({ policies: concurrency({ limit: 1, by: 'global' }) });
  const { exchange } = started();
  await entrance(exchange);
  await exchange.admission?.release();
  const gpu = worker({ url: scene.url });
  await expect(gpu.run(exchange, { path: '/job', body: '1' })).rejects.toThrow(/found no slot/);
  expect(scene.count('POST')).toBe(0);
});

it('runs no job in a slot in which another worker has run one', async () => {
  const scene = await sleepingWorker();
  const { exchange } = started();
  await limit({ policies: concurrency({ limit: 1, by: 'global' }) })(exchange);
  const running = worker({ url: scene.url }).run(exchange, { path: '/job', body: '200' });
  const other = worker({ url: scene.url }).run(exchange, { path: '/job', body: '1' });
  await expect(other).rejects.toThrow(/ran a job in this slot before/);
  expect(await running).toMatchObject({ kind: 'done' });
});

it('runs another job in the slot of a limit that has run again', async () => {
  const scene = await sleepingWorker();
  const gpu = worker({ url: scene.url });
  const entrance = limit({
    by: () => 'k',
    policies: [concurrency({ limit: 1, by: 'global' }), slidingWindow({ limit: 5, window: '1h' }), gpuTime(GPU)],
  });
  const { exchange } = started();
  for (const body of ['200', '300']) {
    expect(await entrance(exchange)).toBeUndefined();
    expect(await gpu.run(exchange, { path: '/job', body })).toMatchObject({ kind: 'done' });
    await expect(gpu.run(exchange, { path: '/job' })).rejects.toThrow(/let the limit run again/);
  }
  const states = await entrance.peek('k');
  const used = Object.fromEntries(states.map(({ name, limit, remaining }) => [name, limit - remaining]));
  expect(used['gpu-time']).toBeGreaterThanOrEqual(500);
  expect(used['gpu-time']).toBeLessThan(5000);
  expect(Object.values(used)).toContain(2);
});

it('runs no job without GPU time when that of the exchange was settled', async () => {
  const scene = await sleepingWorker();
  const gpu = worker({ url: scene.url });
  const { exchange } = started();
  await limit({ by: 'global', policies: gpuTime(GPU) })(exchange);
  const slot = limit({ policies: concurrency({ limit: 1, by: 'global' }) });
  await slot(exchange);
  await gpu.run(exchange, { path: '/job' });
  await slot(exchange);
  await expect(gpu.run(exchange, { path: '/job' })).rejects.toThrow(/let the limit with gpuTime run again/);
});

it('stops its job when GPU time that another admission holds is lost', async () => {
  const scene = await sleepingWorker();
  const first = new HeldAdmission({ kind: 'gpu-time', policy: 'gpu' });
  const { exchange } = started();
  exchange.admission = Object.assign(new HeldAdmission({}), { previous: first });
  const events: WorkerEvent[] = [];
  const gpu = worker({ url: scene.url, onEvent: (event) => events.push(event) });
  const result = gpu.run(exchange, { path: '/job', body: '3000' });
  await vi.waitFor(() => expect(scene.seen.running).toBe(1));
  first.lose();
  expect(await result).toMatchObject({ kind: 'unavailable' });
  expect(events.map(({ kind }) => kind)).toEqual(['state', 'hold-lost']);
  await vi.waitFor(() => expect([scene.seen.running, first.isPending]).toEqual([0, false]), 5000);
});

it.each([
  ['keeps the charge of a job that has used the GPU if the client has chosen its deadline', '9000', 1],
  ['refunds it if the service has chosen the deadline', '60000', 0],
  ['refunds it if nobody has asked for less', undefined, 0],
])('%s, although the answer is a 504', async (_, asked, charged) => {
  const scene = await sleepingWorker();
  const entrance = limit({
    by: () => 'k',
    policies: [slidingWindow({ limit: 5, window: '1m' }), concurrency({ limit: 1, by: 'global' })],
  });
  const { exchange } = testExchange({
    method: 'POST',
    headers: asked === undefined ? [] : [['X-Deadline-Ms', asked]],
  });
  await entrance(exchange);
  expect(deadline({ max: '10s' })(exchange)).toBeUndefined();
  await worker({ url: scene.url }).run(exchange, { path: '/job', body: '100' });
  exchange.end({ kind: 'completed', status: 504 });
  const [window] = await entrance.peek('k');
  expect(5 - (window?.remaining ?? 0)).toBe(charged);
});
