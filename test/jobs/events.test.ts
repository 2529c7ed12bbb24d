import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { Principal } from '../../src/index.js';
import { type JobQueue, type JobStore, jobs, memoryJobStore } from '../../src/jobs/index.js';
import { testExchange } from '../exchange-fixture.js';
import { Client } from '../raw-client.js';
import { controlled, FRAMEWORKS, keyOf } from './scene.js';

const open: JobQueue[] = [];
afterEach(async () => {
  for (const queue of open.splice(0)) await queue.close();
});

interface Event {
  readonly event: string;
  readonly id: number;
  readonly data: { readonly status: string; readonly progress?: number; readonly id: string };
}

/** Whole events of a stream, as they arrive. */
async function* eventsOf(response: Response): AsyncGenerator<Event> {
  let text = '';
  for await (const chunk of response.body ?? []) {
    text += Buffer.from(chunk).toString();
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      if (field('event') === undefined) continue;
      yield { event: String(field('event')), id: Number(field('id')), data: JSON.parse(field('data') ?? '') };
    }
  }
}

describe.each(FRAMEWORKS)('the events of a job behind %s', (_name, serve) => {
  async function scene(options: Partial<Parameters<typeof jobs>[0]> = {}) {
    const queue = jobs({ store: memoryJobStore(), ...options });
    open.push(queue);
    const work = controlled();
    const faults: unknown[] = [];
    const url = await serve(queue, (exchange) => queue.respond(exchange, { run: work.run }), faults);
    const response = await fetch(`${url}/jobs`, { method: 'POST', headers: keyOf('alice') });
    const { id } = (await response.json()) as { id: string };
    await work.running;
    const follow = (headers = {}) => fetch(`${url}/jobs/${id}/events`, { headers: { ...keyOf('alice'), ...headers } });
    return { url, id, work, follow, faults };
  }

  it('arrive one by one, with the whole status, and end with the job', async () => {
    const { work, follow, id } = await scene();
    const response = await follow();
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8']);
    expect(response.headers.get('cache-control')).toBe('no-store, no-transform');
    expect(response.headers.get('x-accel-buffering')).toBe('no');
    const events = eventsOf(response);
    const next = async () => (await events.next()).value as Event;
    const first = await next();
    expect([first.event, first.data.status, first.data.id]).toEqual(['status', 'running', id]);
    work.job.progress(0.25);
    expect(await next()).toMatchObject({ event: 'progress', id: first.id + 1, data: { progress: 0.25 } });
    work.job.progress(0.5, 'half\n\nevent: forged');
    expect(await next()).toMatchObject({ event: 'progress', id: first.id + 2, data: { progress: 0.5 } });
    work.finish({ ok: true });
    expect(await next()).toMatchObject({ event: 'status', id: first.id + 3, data: { status: 'succeeded' } });
    expect((await events.next()).done).toBe(true);
  });

  it('go on where a client was, after it has lost its connection', async () => {
    const { work, follow } = await scene();
    const before = eventsOf(await follow());
    const { id } = (await before.next()).value as Event;
    await before.return(undefined);
    work.job.progress(0.5);
    work.job.progress(0.75);
    const after = eventsOf(await follow({ 'last-event-id': String(id) }));
    expect((await after.next()).value).toMatchObject({ id: expect.any(Number), data: { status: 'running' } });
    work.finish();
    let last: Event | undefined;
    for await (const event of after) last = event;
    expect(last).toMatchObject({ event: 'status', data: { status: 'succeeded', progress: 0.75 } });
    // A browser connects again after the end of a stream, until it is told not to.
    expect((await follow({ 'last-event-id': String(last?.id) })).status).toBe(204);
    // One that has missed the end gets it.
    const again: string[] = [];
    for await (const { data } of eventsOf(await follow({ 'last-event-id': String(id) }))) again.push(data.status);
    expect(again).toEqual(['succeeded']);
  });

  it('repeat nothing that the client has, and ignore an id that is none', async () => {
    const { work, follow } = await scene();
    const { id } = (await eventsOf(await follow()).next()).value as Event;
    const same = eventsOf(await follow({ 'last-event-id': String(id) }));
    const next = same.next();
    await sleep(20);
    work.job.progress(0.5);
    expect((await next).value).toMatchObject({ event: 'progress', id: id + 1 });
    for (const strange of ['x', '-1', '1e3', '99999999999999999999999']) {
      expect((await eventsOf(await follow({ 'last-event-id': strange })).next()).value).toMatchObject({ id: id + 1 });
    }
    // An id of the future belongs to another job.
    const future = eventsOf(await follow({ 'last-event-id': '1000' }));
    const later = future.next();
    work.finish();
    expect((await later).value).toMatchObject({ data: { status: 'succeeded' } });
  });

  it('are followed by a bounded number of connections', async () => {
    const { work, follow, url, id } = await scene({ maxStreams: 2 });
    const clients: Client[] = [];
    for (let i = 0; i < 2; i++) {
      const client = await Client.connect(Number(new URL(url).port));
      clients.push(client);
      client.send(`GET /jobs/${id}/events`, `Authorization: ${keyOf('alice').authorization}`);
      await client.firstByte();
    }
    const refused = await follow();
    expect([refused.status, await refused.json()]).toMatchObject([429, { code: 'job-streams-exceeded' }]);
    const closed = once(clients[0]?.socket as never, 'close');
    clients[0]?.socket.destroy();
    await closed;
    await expect
      .poll(async () => {
        const response = await follow();
        await response.body?.cancel();
        return response.status;
      })
      .toBe(200);
    clients[1]?.socket.destroy();
    work.finish();
    await expect.poll(async () => (await follow()).status).toBe(200);
  });

  it('show that they are alive while nothing happens', async () => {
    const { work, follow, faults } = await scene({ heartbeat: '20ms' });
    const response = await follow();
    let text = '';
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString();
      if (text.split('\n:\n').length > 3) break;
    }
    expect(text.match(/event:/g)).toHaveLength(1);
    work.finish();
    expect(faults).toEqual([]);
  });
});

it('miss nothing that happens before the stream is opened', async () => {
  const queue = jobs({ store: memoryJobStore() });
  open.push(queue);
  const caller: Principal = { id: 'alice', scheme: 'test', scopes: [], credentialId: 'c' };
  const { exchange } = testExchange({ principal: caller });
  const work = controlled();
  const submitted = await queue.submit(exchange, { run: work.run });
  if (submitted.kind !== 'accepted') throw new Error('refused');
  await work.running;
  Object.defineProperty(exchange.request, 'param', { value: () => submitted.job.id });
  const reply = await queue.events()(exchange);
  work.finish();
  await submitted.job.ended;
  let text = '';
  for await (const chunk of reply?.stream?.() ?? []) text += String(chunk);
  expect(text.match(/"status":"\w+"/g)?.at(-1)).toBe('"status":"succeeded"');
});

it('are never held for a slow client, which gets the newest state', async () => {
  const store = memoryJobStore();
  let watchers = 0;
  const counted: JobStore = {
    create: (job) => store.create(job),
    read: (id) => store.read(id),
    change: (id, holder, change) => store.change(id, holder, change),
    renew: (id, holder, lease) => store.renew(id, holder, lease),
    cancel: (id) => store.cancel(id),
    watch: (id, onChange) => {
      watchers++;
      const stop = store.watch(id, onChange);
      return () => {
        watchers--;
        stop();
      };
    },
  };
  const queue = jobs({ store: counted });
  open.push(queue);
  const work = controlled();
  const [[, serve] = []] = FRAMEWORKS;
  const url = (await serve?.(queue, (exchange) => queue.respond(exchange, { run: work.run }))) ?? '';
  const response = await fetch(`${url}/jobs`, { method: 'POST', headers: keyOf('alice') });
  const { id } = (await response.json()) as { id: string };
  await work.running;
  const client = await Client.connect(Number(new URL(url).port));
  client.send(`GET /jobs/${id}/events`, `Authorization: ${keyOf('alice').authorization}`);
  await client.firstByte();
  expect(watchers).toBe(2);
  const message = 'x'.repeat(200);
  for (let i = 0; i < 4_000; i++) {
    work.job.progress(i / 4_000, message);
    if (i % 50 === 0) await sleep(0);
  }
  client.socket.resume();
  work.finish();
  await expect.poll(() => watchers).toBe(0);
  client.socket.destroy();
});
