import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  apiKeyRecord,
  apiKeys,
  authenticate,
  clientIp,
  concurrency,
  type Guard,
  limit,
  memoryStore,
  reportFaults,
  requestId,
  requireScope,
  securityHeaders,
  sequence,
  slidingWindow,
} from '../../src/index.js';
import { memoryJobStore } from '../../src/jobs/index.js';
import {
  memoryOperatorStore,
  type OperatorPageOptions,
  type OperatorRecord,
  operatorControls,
  operatorPage,
} from '../../src/operator/index.js';
import { FRAMEWORKS, type Serve } from '../jobs/idempotent-scene.js';

const ADMIN = 'c4n4ry-of-the-operator-0123456789';
const ALICE = 'c4n4ry-of-alice-0123456789-0123456789';
const KEYS = [
  apiKeyRecord(ALICE, { clientId: 'alice' }),
  apiKeyRecord(ADMIN, { clientId: 'olga', id: 'key-7', scopes: ['admin'] }),
];

async function scene(serve: Serve, page: Partial<OperatorPageOptions> = {}) {
  const records: OperatorRecord[] = [];
  const faults: string[] = [];
  const entrance = authenticate(apiKeys({ keys: KEYS }));
  const store = memoryStore();
  const jobs = memoryJobStore();
  const perDay = limit({ store, by: 'principal', policies: slidingWindow({ limit: 2, window: '24h', name: 'day' }) });
  const slots = limit({ store, policies: concurrency({ limit: 1, by: 'global', name: 'slots' }) });
  const measures = memoryOperatorStore();
  const controls = operatorControls({
    store: measures,
    limits: { day: perDay },
    jobs,
    sink: (record) => records.push(record),
  });
  const desk = operatorPage({
    admin: sequence(entrance, requireScope('admin')),
    name: 'The secret service',
    controls,
    jobs,
    ...page,
  });
  const service: Guard = sequence(entrance, controls, perDay, slots);
  const url = await serve(
    [
      reportFaults((error) => faults.push(String(error))),
      desk.watch(),
      requestId(),
      clientIp(),
      securityHeaders(),
      desk,
      service,
    ],
    () => ({ body: 'made' }),
  );
  const base = `${url}/admin/desk`;
  const headers = { Authorization: `Bearer ${ADMIN}`, 'Content-Type': 'application/json' };
  return {
    url,
    base,
    records,
    faults,
    jobs,
    measures,
    close: desk.close,
    ask: async (key = ALICE) => {
      const response = await fetch(`${url}/generate`, { headers: { Authorization: `Bearer ${key}` } });
      const text = await response.text();
      return response.status === 200 ? text : (JSON.parse(text).code as string);
    },
    act: async (name: string, body: unknown, other: Readonly<Record<string, string>> = {}) => {
      const response = await fetch(`${base}/actions/${name}`, {
        method: 'POST',
        headers: { ...headers, ...other },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      });
      const text = await response.text();
      return { status: response.status, body: text.startsWith('{') ? JSON.parse(text) : text };
    },
    state: async () => {
      const response = await fetch(`${base}/state`, { headers });
      const { snapshot } = (await response.json()) as { snapshot: Record<string, unknown> };
      return snapshot;
    },
  };
}

describe.each(FRAMEWORKS)('the actions of operators, through %s', (name, serve) => {
  let it_: Awaited<ReturnType<typeof scene>>;
  beforeEach(async () => {
    it_ = await scene(serve);
  });

  it('suspend a client at once, and end that', async () => {
    const { ask, act, records, state } = it_;
    expect(await ask()).toBe('made');
    const suspended = await act('suspend', { client: 'alice' });
    expect(suspended).toEqual({
      status: 200,
      body: { action: 'suspend', client: 'alice', result: 'done', at: expect.any(Number) },
    });
    expect(await ask()).toBe('client-suspended');
    expect((await state()).measures).toMatchObject([{ kind: 'suspended', client: 'alice', by: 'olga' }]);
    expect((await act('suspend', { client: 'alice' })).body).toMatchObject({ result: 'unchanged' });
    expect((await act('resume', { client: 'alice' })).body).toMatchObject({ result: 'done' });
    expect((await act('resume', { client: 'alice' })).body).toMatchObject({ result: 'unchanged' });
    expect(await ask()).toBe('made');
    expect(records.map(({ action, client, result }) => [action, client, result])).toEqual([
      ['suspend', 'alice', 'done'],
      ['suspend', 'alice', 'unchanged'],
      ['resume', 'alice', 'done'],
      ['resume', 'alice', 'unchanged'],
    ]);
    expect(records[0]).toMatchObject({
      at: expect.any(Number),
      by: 'olga',
      credentialId: 'key-7',
      // Off Node, the address of a socket is unknown.
      ip: name === 'Hono off Node' ? undefined : '127.0.0.1',
      requestId: expect.stringMatching(/\S/),
      job: undefined,
      until: undefined,
    });
  });

  it('let a client exceed its own quotas for an hour, and end that', async () => {
    const { ask, act, records } = it_;
    for (const answer of ['made', 'made', 'quota-exceeded']) expect(await ask()).toBe(answer);
    const { body } = await act('allow', { client: 'alice' });
    expect(body).toMatchObject({ action: 'allow', result: 'done', until: body.at + 3_600_000 });
    for (let i = 0; i < 3; i++) expect(await ask()).toBe('made');
    expect((await act('allow', { client: 'alice' })).body).toMatchObject({ result: 'unchanged' });
    expect((await act('disallow', { client: 'alice' })).body).toMatchObject({ result: 'done' });
    expect(await ask()).toBe('quota-exceeded');
    expect(records.map(({ action, result }) => `${action} ${result}`)).toEqual([
      'allow done',
      'allow unchanged',
      'disallow done',
    ]);
    expect(records[0]?.until).toBe(body.until);
  });

  it("reset a client's counters, again and again", async () => {
    const { ask, act, records } = it_;
    for (let round = 0; round < 2; round++) {
      for (const answer of ['made', 'made', 'quota-exceeded']) expect(await ask()).toBe(answer);
      expect((await act('reset', { client: 'alice' })).body).toMatchObject({ client: 'alice', result: 'done' });
    }
    expect((await act('reset', { client: 'nobody' })).body).toMatchObject({ result: 'done' });
    expect(records).toHaveLength(3);
  });

  it('cancel a job of anybody, and say if there is none', async () => {
    const { act, jobs, records } = it_;
    const job = { owner: 'principal:alice', holder: 'h', lease: 60_000, ttl: 60_000, task: undefined };
    for (const id of ['queued', 'running', 'over']) jobs.create({ id, ...job });
    jobs.change('running', 'h', { kind: 'start' });
    jobs.change('over', 'h', { kind: 'start' });
    jobs.change('over', 'h', { kind: 'end', state: 'succeeded', result: undefined, files: [] });
    for (const id of ['queued', 'running', 'running']) {
      expect((await act('cancel-job', { job: id })).body).toMatchObject({ job: id, result: 'done' });
    }
    expect(jobs.read('queued')?.state).toBe('cancelled');
    expect(jobs.read('running')).toMatchObject({ state: 'running', cancelRequested: true });
    expect((await act('cancel-job', { job: 'over' })).body).toMatchObject({ result: 'unchanged' });
    expect(await act('cancel-job', { job: 'none' })).toMatchObject({ status: 404, body: { code: 'job-not-found' } });
    expect(records.map(({ job: id, result }) => `${id} ${result}`)).toEqual([
      'queued done',
      'running done',
      'running done',
      'over unchanged',
      'none not-found',
    ]);
  });

  it.each([
    ['no key', { Authorization: '' }, 401, 'credentials-missing'],
    ['a wrong key', { Authorization: 'Bearer c4n4ry-of-a-stranger-0123456789' }, 401, 'credentials-invalid'],
    ['the key of a client', { Authorization: `Bearer ${ALICE}` }, 403, 'scope-insufficient'],
    ['a form of another site', { 'Content-Type': 'text/plain' }, 403, 'operator-request-foreign'],
    ['a script of another site', { 'Sec-Fetch-Site': 'cross-site' }, 403, 'operator-request-foreign'],
    ['a script of a sibling host', { 'Sec-Fetch-Site': 'same-site' }, 403, 'operator-request-foreign'],
  ])('are not done for %s', async (_who, headers, status, code) => {
    const { ask, act, records } = it_;
    const others = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== ''));
    const answer =
      'Authorization' in headers && headers.Authorization === ''
        ? await fetch(`${it_.base}/actions/suspend`, {
            method: 'POST',
            headers: { 'Content-Type': 'application/json', Cookie: `key=${ADMIN}` },
            body: '{"client":"alice"}',
          }).then(async (response) => ({ status: response.status, body: await response.json() }))
        : await act('suspend', { client: 'alice' }, others);
    expect(answer).toMatchObject({ status, body: { code } });
    expect([await ask(), records]).toEqual(['made', []]);
  });

  it.each([
    ['that is no JSON', '{'],
    ['that is a list', '[]'],
    ['with an empty client', '{"client":""}'],
    ['with a number', '{"client":7}'],
    ['with a name that is too long', JSON.stringify({ client: 'x'.repeat(1025) })],
  ])('explain what is wrong with a body %s', async (_what, body) => {
    const { status, body: problem } = await it_.act('suspend', body);
    expect([status, problem.code, problem.detail]).toEqual([
      400,
      'operator-request-malformed',
      'The body must be a JSON object with "client", a text of 1 to 1024 characters.',
    ]);
    expect(it_.records).toEqual([]);
  });

  it('are refused with 413 if the body is large, and pass on if there is none of that name', async () => {
    expect((await it_.act('suspend', { client: 'x'.repeat(20_000) })).status).toBe(413);
    expect(await it_.act('explode', { client: 'alice' })).toMatchObject({ status: 200, body: 'made' });
    expect(it_.records).toEqual([]);
  });

  it('that fail say so, and are recorded', async () => {
    const { act, measures, records, faults } = it_;
    measures.add = () => {
      throw new Error('the disk is full');
    };
    expect(await act('suspend', { client: 'alice' })).toMatchObject({
      status: 503,
      body: { code: 'operator-action-failed' },
    });
    expect(records).toMatchObject([{ action: 'suspend', client: 'alice', result: 'failed', by: 'olga' }]);
    expect(faults).toEqual(['Error: the disk is full']);
  });
});

describe.each(FRAMEWORKS)('the operator page, through %s', (name, serve) => {
  it('is the same for everybody, and says nothing about the service', async () => {
    const { base, ask } = await scene(serve);
    await ask();
    const page = await fetch(`${base}/`);
    const text = await page.text();
    expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
    expect(text).not.toMatch(/secret service|alice|olga/);
    expect(Object.fromEntries(page.headers)).toMatchObject({
      'content-security-policy': expect.stringMatching(
        /^default-src 'none'; script-src 'self'; style-src 'self'; .*frame-ancestors 'none'/,
      ),
      'x-frame-options': 'DENY',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-cache',
      etag: expect.stringMatching(/^"[\w-]{22}"$/),
    });
    expect(page.headers.get('content-security-policy')).not.toMatch(/unsafe|https?:|\*/);
    const withKey = await fetch(`${base}/`, { headers: { Authorization: `Bearer ${ADMIN}` } });
    expect(await withKey.text()).toBe(text);
  });

  it('has every file that it names, and needs no other host', async () => {
    const { base } = await scene(serve);
    const text = await (await fetch(`${base}/`)).text();
    const names = [...text.matchAll(/(?:href|src)="([^"#]+)"/g)].map(([, file]) => file as string);
    expect(names).toEqual(['icon.svg', 'uplot.css', 'desk.css', 'uplot.js', 'desk.js']);
    expect(text).not.toMatch(/\son\w+=|style=|<script>|<style>|https?:/);
    for (const file of names) {
      const response = await fetch(`${base}/${file}`);
      expect([file, response.status, response.headers.get('x-content-type-options')]).toEqual([file, 200, 'nosniff']);
      for (const [, other] of (await response.text()).matchAll(/from '\.\/([\w.]+)'/g)) {
        expect([other, (await fetch(`${base}/${other}`)).status]).toEqual([other, 200]);
      }
    }
    expect(await (await fetch(`${base}/uplot.js`)).text()).toContain('Permission is hereby granted, free of charge');
  });

  it('is not sent again to a browser that has it, and answers HEAD', async () => {
    const { base } = await scene(serve);
    const head = await fetch(`${base}/desk.js`, { method: 'HEAD' });
    expect([head.status, await head.text(), Number(head.headers.get('content-length')) > 1000]).toEqual([
      200,
      '',
      true,
    ]);
    const etag = head.headers.get('etag') ?? '';
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const response = await fetch(`${base}/desk.js`, { headers: { 'If-None-Match': known } });
      expect([response.status, await response.text()]).toEqual([304, '']);
    }
    expect((await fetch(`${base}/desk.js`, { headers: { 'If-None-Match': '"other"' } })).status).toBe(200);
  });

  it('is found without its last slash, also behind a proxy that removes a prefix', async () => {
    const { base } = await scene(serve);
    const response = await fetch(base, { redirect: 'manual' });
    expect([response.status, response.headers.get('location')]).toEqual([308, 'desk/']);
    expect((await fetch(base)).url).toBe(`${base}/`);
  });

  it.each(['/admin/desk/desk.php', '/admin/desk//', '/admin/deskx/', '/admin/desk/%64esk.js', '/x/admin/desk/'])(
    'leaves %s to the service',
    async (path) => {
      const { url } = await scene(serve);
      const response = await fetch(url + path, { headers: { Authorization: `Bearer ${ALICE}` } });
      expect([response.status, await response.text()]).toEqual([200, 'made']);
    },
  );

  it.each([
    [undefined, 401],
    [ALICE, 403],
  ])('tells nothing without the key of an operator (%#)', async (key, status) => {
    const { base } = await scene(serve);
    for (const [method, path] of [
      ['GET', 'state'],
      ['HEAD', 'state'],
      ['GET', 'events'],
      ['GET', 'events?key=c4n4ry-of-the-operator'],
    ] as const) {
      const response = await fetch(`${base}/${path}`, {
        method,
        headers: key === undefined ? { Cookie: 'key=1' } : { Authorization: `Bearer ${key}` },
      });
      expect([path, response.status]).toEqual([path, status]);
      expect(await response.text()).not.toMatch(/secret service|olga|inFlight/);
      expect(response.headers.get('cache-control')).toBe('no-store');
    }
  });

  it('tells an operator what happens, as it happens', async () => {
    const { base, ask, state } = await scene(serve);
    for (let i = 0; i < 3; i++) await ask();
    const snapshot = await state();
    expect(snapshot).toMatchObject({
      name: 'The secret service',
      isSharedLedger: false,
      actions: ['suspend', 'resume', 'allow', 'disallow', 'reset', 'cancel-job'],
      clients: [
        {
          client: 'alice',
          requests: 3,
          refused: 1,
          limits: [{ name: 'day', limit: 2, remaining: 0 }],
        },
      ],
      jobs: [],
      unavailable: [],
    });
    const controller = new AbortController();
    const response = await fetch(`${base}/events`, {
      headers: { Authorization: `Bearer ${ADMIN}` },
      signal: controller.signal,
    });
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(response.headers.get('cache-control')).toContain('no-store');
    const events = eventsOf(response);
    const first = await events.next();
    expect(first.buckets).toMatchObject([{ requests: 3, refusals: { 'quota-exceeded': 1 } }]);
    await ask();
    const next = await events.next();
    expect(next.buckets.at(-1).refusals['quota-exceeded']).toBeGreaterThanOrEqual(1);
    expect(next.snapshot.clients[0].client).toBe('alice');
    controller.abort();
  });

  it('sees a request that begins like the page and goes elsewhere', async () => {
    const { url, state } = await scene(serve);
    // Not by `fetch`, which would remove the dots. Hono does.
    const request = get(`${url}`, {
      agent: false,
      path: '/admin/desk/../../generate',
      headers: { Authorization: `Bearer ${ALICE}` },
    });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.resume();
    await once(response, 'close');
    expect(await state()).toMatchObject({ clients: [{ client: 'alice', requests: 1 }] });
  });

  it('has room for so many streams, and for another when one has left', async () => {
    const { base } = await scene(serve, { maxStreams: 1 });
    // Not by `fetch`, which opens a connection in place of one that it has cut.
    const open = async () => {
      const request = get(`${base}/events`, { agent: false, headers: { Authorization: `Bearer ${ADMIN}` } });
      request.on('error', () => undefined);
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      return { response, leave: () => request.destroy() };
    };
    const first = await open();
    expect(first.response.statusCode).toBe(200);
    await once(first.response, 'data');
    const second = await open();
    expect(second.response.statusCode).toBe(429);
    expect(JSON.parse(Buffer.concat(await second.response.toArray()).toString()).code).toBe(
      'operator-streams-exceeded',
    );
    first.leave();
    await expect
      .poll(
        async () => {
          const { response, leave } = await open();
          leave();
          return response.statusCode;
        },
        { timeout: 5000, interval: 50 },
      )
      .toBe(200);
  });

  it('ends its streams when the service stops', async () => {
    const { base, close } = await scene(serve);
    const response = await fetch(`${base}/events`, { headers: { Authorization: `Bearer ${ADMIN}` } });
    const text = response.text();
    close();
    expect(await text).toMatch(/^(?:event: state|$)/);
    const next = await fetch(`${base}/events`, { headers: { Authorization: `Bearer ${ADMIN}` } });
    expect(next.status).toBe(429);
    await next.text();
  });

  it('shows what it can if a part cannot be read, and reports it once', async () => {
    let reads = 0;
    const broken = {
      list: () => {
        reads++;
        throw new Error('no jobs today');
      },
    };
    const { state, faults } = await scene(serve, {
      jobs: broken,
      health: {
        worker: () => ({ isUp: true }),
        Redis: () => Promise.reject(new Error('c4n4ry')),
      },
    });
    for (let i = 0; i < 2; i++) {
      expect(await state()).toMatchObject({
        unavailable: ['jobs'],
        clients: [],
        health: [
          { name: 'worker', isUp: true },
          { name: 'Redis', isUp: false, detail: 'no answer' },
        ],
      });
    }
    expect([reads, faults]).toEqual([2, ['Error: no jobs today']]);
  });

  it('answers nothing to an operator whom "admin" lets in without a name', async () => {
    const { base, faults } = await scene(serve, { admin: () => undefined });
    const response = await fetch(`${base}/state`);
    expect([name, response.status]).toEqual([name, 500]);
    expect(faults).toEqual([
      expect.stringContaining('operatorPage "admin" has let a request pass without a principal'),
    ]);
  });
});

/** The events of a stream, one by one. */
function eventsOf(response: Response) {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = '';
  return {
    async next() {
      for (;;) {
        const end = buffer.indexOf('\n\n');
        if (end !== -1) {
          const data = /^data: (.*)$/m.exec(buffer.slice(0, end))?.[1] ?? '';
          buffer = buffer.slice(end + 2);
          return JSON.parse(data);
        }
        const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
        if (done) throw new Error('the stream has ended');
        buffer += value;
      }
    },
  };
}
