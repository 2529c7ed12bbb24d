import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { folder, type JobQueue, jobs, memoryJobStore } from '../../src/jobs/index.js';
import { ManualClock } from '../contracts/limit-store.js';
import { Client } from '../raw-client.js';
import { type Caller, controlled, FRAMEWORKS, keyOf } from './scene.js';

const directory = await mkdtemp(join(tmpdir(), 'gatewarden-jobs-'));
afterAll(() => rm(directory, { recursive: true, force: true }));

type Headers_ = Readonly<Record<string, string>>;

/** Every way to a job. */
const ROUTES: readonly (readonly [method: string, path: string, headers?: Headers_])[] = [
  ['GET', ''],
  ['HEAD', ''],
  ['GET', '/events'],
  ['HEAD', '/events'],
  ['GET', '/events', { 'last-event-id': '1' }],
  ['GET', '/result'],
  ['HEAD', '/result'],
  ['GET', '/result', { range: 'bytes=0-3' }],
  ['GET', '/result?file=secret.txt'],
  ['GET', '/files/secret.txt'],
  ['GET', '/files/secret.txt', { range: 'bytes=0-3' }],
  ['HEAD', '/files/secret.txt'],
  ['GET', '/own'],
  ['DELETE', ''],
];

/** Headers that say when, and nothing of the job. */
const TIMES = new Set(['date', 'keep-alive']);

async function answer(url: string, method: string, headers: Headers_) {
  const response = await fetch(url, { method, headers });
  const fields = [...response.headers].filter(([name]) => !TIMES.has(name));
  return { status: response.status, fields, body: await response.text() };
}

describe.each(FRAMEWORKS)('a job behind %s', (_name, serve) => {
  async function scene() {
    const clock = new ManualClock(Date.UTC(2025, 5, 15, 12));
    const queue: JobQueue = jobs({
      store: memoryJobStore({ now: clock.now }),
      results: folder({ directory }),
      ttl: '1h',
    });
    const work = controlled();
    const faults: unknown[] = [];
    const url = await serve(queue, (exchange) => queue.respond(exchange, { run: work.run }), faults);
    const submitted = async (headers: Headers_) => {
      const response = await fetch(`${url}/jobs`, { method: 'POST', headers });
      expect(response.status).toBe(202);
      const body = (await response.json()) as { id: string; token?: string };
      expect(response.headers.get('location')).toBe(`/jobs/${body.id}`);
      return body;
    };
    /** Lets the job succeed with a file. */
    const succeed = async (id: string) => {
      await work.running;
      await work.job.file('secret.txt', 'text/plain', 'top secret');
      work.finish();
      await expect
        .poll(async () => (await (await ask('GET', `/${id}`, keyOf('admin'))).body).includes('succeeded'))
        .toBe(true);
    };
    const ask = (method: string, path: string, headers: Headers_) => answer(`${url}/jobs${path}`, method, headers);
    return { clock, queue, work, url, submitted, succeed, ask, faults };
  }

  const STRANGERS: readonly (readonly [who: string, headers: Headers_])[] = [
    ['another client', keyOf('bob')],
    ['nobody', {}],
    ['a guessed token', { 'job-token': 'AAAAAAAAAAAAAAAAAAAAAA' }],
    ['a token that is none', { 'job-token': 'x'.repeat(5000) }],
  ];

  it.each(STRANGERS)('is as good as missing for %s, byte for byte, on every route', async (_who, headers) => {
    const { submitted, succeed, ask, faults } = await scene();
    const { id } = await submitted(keyOf('alice'));
    const missing = 'AAAAAAAAAAAAAAAAAAAAAQ';
    const compare = async () => {
      for (const [method, path, more] of ROUTES) {
        const foreign = await ask(method, `/${id}${path}`, { ...headers, ...more });
        expect(foreign.status, `${method} ${path}`).toBe(404);
        if (method !== 'HEAD')
          expect(JSON.parse(foreign.body)).toEqual({
            status: 404,
            title: 'Not Found',
            detail: 'There is no such job.',
            code: 'job-not-found',
          });
        expect(foreign).toEqual(await ask(method, `/${missing}${path}`, { ...headers, ...more }));
      }
    };
    await compare();
    await succeed(id);
    await compare();
    expect((await ask('GET', `/${id}`, keyOf('alice'))).body).toContain('"status":"succeeded"');
    expect(faults).toEqual([]);
  });

  it.each<Caller>(['alice', 'rotated', 'admin'])('is open on every route to %s', async (caller) => {
    const { submitted, succeed, ask } = await scene();
    const { id } = await submitted(keyOf('alice'));
    await succeed(id);
    const statuses: string[] = [];
    for (const [method, path, more] of ROUTES) {
      const { status } = await ask(method, `/${id}${path}`, { ...keyOf(caller), ...more });
      statuses.push(`${method} ${path} ${more?.range ?? ''} ${status}`);
    }
    expect(statuses.map((text) => Number(text.slice(-3)))).toEqual([
      200, 200, 200, 200, 200, 200, 200, 206, 200, 200, 206, 200, 200, 200,
    ]);
    expect((await ask('GET', `/${id}/files/secret.txt`, keyOf(caller))).body).toBe('top secret');
    expect((await ask('GET', `/${id}/own`, keyOf(caller))).body).toBe('"own"');
  });

  it('of an anonymous caller is open to its token only', async () => {
    const { submitted, succeed, ask } = await scene();
    const { id, token = '' } = await submitted({});
    expect(token).toMatch(/^[\w-]{22}$/);
    await succeed(id);
    for (const [method, path, more] of ROUTES) {
      const own = await ask(method, `/${id}${path}`, { ...more, 'job-token': token });
      expect([200, 206], `${method} ${path}`).toContain(own.status);
      expect(own.body).not.toContain(token);
      for (const headers of [{}, keyOf('bob'), { 'job-token': `${token}, ${token}` }]) {
        expect((await ask(method, `/${id}${path}`, { ...more, ...headers })).status).toBe(404);
      }
    }
    // A token belongs to its job only.
    const other = await submitted({});
    expect((await ask('GET', `/${other.id}`, { 'job-token': token })).status).toBe(404);
  });

  it('is closed to a token that is sent twice', async () => {
    const { submitted, url } = await scene();
    const { id, token } = await submitted({});
    const client = await Client.connect(Number(new URL(url).port));
    client.send(`GET /jobs/${id}`, `Job-Token: ${token}`);
    expect((await client.answer()).status).toBe(200);
    client.send(`GET /jobs/${id}`, `Job-Token: ${token}`, 'Job-Token: AAAAAAAAAAAAAAAAAAAAAA');
    expect((await client.answer()).status).toBe(404);
    client.socket.destroy();
  });

  it('is gone for everybody at the end of its time', async () => {
    const { submitted, succeed, ask, clock } = await scene();
    const { id } = await submitted(keyOf('alice'));
    await succeed(id);
    clock.advance(3_600_000);
    for (const caller of ['alice', 'rotated', 'admin', 'bob'] as const) {
      for (const [method, path, more] of ROUTES) {
        expect((await ask(method, `/${id}${path}`, { ...keyOf(caller), ...more })).status).toBe(404);
      }
    }
  });

  it.each([
    'AAAAAAAAAAAAAAAAAAAAA',
    'AAAAAAAAAAAAAAAAAAAAAAA',
    'AAAAAAAAAAAAAAAAAAAAAB',
    '__proto__',
    '..%2F..%2Fetc%2Fpasswd',
    '%00',
    'principal:alice',
    '*',
    '{id}',
    'a'.repeat(90),
  ])('is not found under %s', async (id) => {
    const { ask } = await scene();
    expect((await ask('GET', `/${id}`, keyOf('admin'))).status).toBe(404);
    expect((await ask('DELETE', `/${id}`, keyOf('alice'))).status).toBe(404);
  });

  it('is not cancelled by a stranger', async () => {
    const { submitted, ask, work } = await scene();
    const { id } = await submitted(keyOf('alice'));
    await work.running;
    expect((await ask('DELETE', `/${id}`, keyOf('bob'))).status).toBe(404);
    expect(work.job.signal.aborted).toBe(false);
    expect((await ask('DELETE', `/${id}`, keyOf('alice'))).body).toMatch(/"status":"(running|cancelled)"/);
    expect(work.job.signal.aborted).toBe(true);
    await expect.poll(async () => (await ask('GET', `/${id}`, keyOf('alice'))).body).toContain('"status":"cancelled"');
    const again = await ask('DELETE', `/${id}`, keyOf('alice'));
    expect([again.status, JSON.parse(again.body).status]).toEqual([200, 'cancelled']);
    expect((await ask('GET', `/${id}/result`, keyOf('alice'))).status).toBe(410);
  });
});

it('asks the store for the job of another client as often as for a missing one', async () => {
  const inner = memoryJobStore();
  const reads: string[] = [];
  const store = {
    create: inner.create.bind(inner),
    change: inner.change.bind(inner),
    renew: inner.renew.bind(inner),
    cancel: inner.cancel.bind(inner),
    watch: inner.watch.bind(inner),
    read: async (id: string) => {
      reads.push(id);
      await sleep(1);
      return inner.read(id);
    },
  };
  const queue = jobs({ store });
  const [[, serve] = []] = FRAMEWORKS;
  const url = await serve?.(queue, (exchange) => queue.respond(exchange, { run: () => 1 }));
  const response = await fetch(`${url}/jobs`, { method: 'POST', headers: keyOf('alice') });
  const { id } = (await response.json()) as { id: string };
  await expect.poll(() => inner.read(id)?.state).toBe('succeeded');
  const counts: number[] = [];
  for (const asked of [id, 'AAAAAAAAAAAAAAAAAAAAAQ']) {
    reads.length = 0;
    expect((await fetch(`${url}/jobs/${asked}`, { headers: keyOf('bob') })).status).toBe(404);
    counts.push(reads.length);
  }
  expect(counts).toEqual([1, 1]);
});
