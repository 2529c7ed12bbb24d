import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { getRequestListener } from '@hono/node-server';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { guard as expressGuard, sendReply as sendExpress } from '../../src/adapters/express.js';
import { guard as fastifyGuard, gatewarden, sendReply as sendFastify } from '../../src/adapters/fastify.js';
import { createGuard, guard as honoGuard, sendReply as sendHono } from '../../src/adapters/hono.js';
import { renderReply } from '../../src/core/render-reply.js';
import type { ResponseReceiver } from '../../src/core/request-view.js';
import { type Exchange, type Guard, jsonReply, problem, problemFormat, type Reply, refuse } from '../../src/index.js';
import {
  folder,
  type IdempotencyStore,
  idempotent,
  type JobStore,
  jobs,
  memoryIdempotencyStore,
  memoryJobStore,
  type RunningJob,
} from '../../src/jobs/index.js';
import { newOwner } from '../../src/jobs/job-owner.js';
import { statusOf } from '../../src/jobs/job-status.js';
import { testExchange } from '../exchange-fixture.js';
import { listening } from '../worker/scene.js';

type Answer = (exchange: Exchange) => Promise<Reply>;

/** Serves POST with the reply that a handler sends, or a guard returns. */
const SENDERS: readonly (readonly [
  name: string,
  serve: (guards: readonly Guard[], answer: Answer) => Promise<string>,
])[] = [
  [
    'a handler of Express',
    (guards, answer) => {
      const app = express();
      app.post('/', expressGuard(...guards), async (req, res) => sendExpress(req, res, await answer(req.exchange)));
      return listening(createServer(app));
    },
  ],
  [
    'a guard behind Express',
    (guards, answer) => {
      const app = express();
      app.post('/', expressGuard(...guards, answer));
      return listening(createServer(app));
    },
  ],
  [
    'a handler of Fastify',
    async (guards, answer) => {
      const app = fastify();
      await app.register(gatewarden, { guards: [] });
      app.post('/', { onRequest: fastifyGuard(...guards) }, async (req, reply) =>
        sendFastify(req, reply, await answer(req.exchange)),
      );
      onTestFinished(() => app.close());
      return app.listen({ host: '127.0.0.1', port: 0 });
    },
  ],
  [
    'a handler of Hono',
    (guards, answer) => {
      const app = new Hono();
      app.post('/', honoGuard(...guards), async (c) => sendHono(c, await answer(c.var.exchange)));
      return listening(createServer(getRequestListener(app.fetch)));
    },
  ],
  [
    'a guard behind Hono',
    (guards, answer) => {
      const app = new Hono();
      app.post('/', honoGuard(...guards, answer), (c) => c.text('unreached'));
      return listening(createServer(getRequestListener(app.fetch)));
    },
  ],
];

const deferred = <T = void>() => {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
};

describe.each(SENDERS)('a reply that %s sends', (_name, serve) => {
  it('is remembered also if the client left while a job was submitted, so a repeat starts no second job', async () => {
    let started = 0;
    const [begun, goOn, left] = [deferred(), deferred(), deferred()];
    const url = await serve([idempotent()], async (exchange) => {
      started++;
      exchange.onEnd(() => left.resolve());
      begun.resolve();
      await goOn.promise;
      return jsonReply(202, { id: started }, [['Location', `/jobs/${started}`]]);
    });
    const headers = { 'idempotency-key': 'k', 'content-type': 'application/json' };
    const first = request(url, { method: 'POST', headers }).on('error', () => undefined);
    first.end('{}');
    await begun.promise;
    first.destroy();
    await left.promise;
    goOn.resolve();
    const repeat = await fetch(url, { method: 'POST', headers, body: '{}', signal: AbortSignal.timeout(3000) });
    expect({
      started,
      status: repeat.status,
      location: repeat.headers.get('location'),
      replayed: repeat.headers.get('idempotency-replayed'),
      body: await repeat.json(),
    }).toEqual({ started: 1, status: 202, location: '/jobs/1', replayed: 'true', body: { id: 1 } });
  });
});

describe('a client that leaves', () => {
  it('while a parser reads its large body does not get the error of the parser for its repeat', async () => {
    const app = express();
    app.set('env', 'test');
    const left = deferred();
    app.post(
      '/',
      expressGuard(idempotent({ maxRequestBytes: '1kb' })),
      (req, _res, next) => {
        req.exchange.onEnd(() => left.resolve());
        next();
      },
      express.json({ limit: '1mb' }),
      (req, res) => void res.json({ length: req.body.prompt.length }),
    );
    const url = await listening(createServer(app));
    const body = JSON.stringify({ prompt: 'x'.repeat(5000) });
    const headers = { 'idempotency-key': 'k', 'content-type': 'application/json' };
    const first = request(url, { method: 'POST', headers: { ...headers, 'content-length': body.length } });
    first.on('error', () => undefined);
    first.write(body.slice(0, 2000));
    setTimeout(() => first.destroy(), 100);
    await left.promise;
    const repeat = await fetch(url, { method: 'POST', headers, body, signal: AbortSignal.timeout(3000) });
    expect(await repeat.json()).toEqual({ length: 5000 });
  });

  it.each(['Express', 'Fastify'])('between two guards of %s frees its key at once', async (name) => {
    let runs = 0;
    const [begun, left] = [deferred(), deferred()];
    const wait = async (exchange: Exchange | undefined) => {
      if (runs > 0) return;
      runs++;
      exchange?.onEnd(() => left.resolve());
      begun.resolve();
      await left.promise;
    };
    const pass: Guard = () => undefined;
    let url: string;
    if (name === 'Express') {
      const app = express();
      app.post(
        '/',
        expressGuard(idempotent()),
        (req, _res, next) => void wait(req.exchange).then(next),
        expressGuard(pass),
        (_req, res) => void res.json('ran'),
      );
      url = await listening(createServer(app));
    } else {
      const app = fastify();
      await app.register(gatewarden, { guards: [] });
      app.post(
        '/',
        { onRequest: [fastifyGuard(idempotent()), (req) => wait(req.exchange), fastifyGuard(pass)] },
        async () => '"ran"',
      );
      onTestFinished(() => app.close());
      url = await app.listen({ host: '127.0.0.1', port: 0 });
    }
    const headers = { 'idempotency-key': 'k', 'content-type': 'application/json' };
    const first = request(url, { method: 'POST', headers }).on('error', () => undefined);
    first.end('{}');
    await begun.promise;
    first.destroy();
    const repeat = await fetch(url, { method: 'POST', headers, body: '{}', signal: AbortSignal.timeout(3000) });
    expect(await repeat.text()).toBe('"ran"');
  });
});

describe('a job', () => {
  const open: { close(): Promise<void> }[] = [];
  afterEach(async () => {
    for (const queue of open.splice(0)) await queue.close();
  });
  function queueOf(options: Partial<Parameters<typeof jobs>[0]> = {}) {
    const queue = jobs({ store: memoryJobStore(), ...options });
    open.push(queue);
    return queue;
  }
  /** A memory store of which some verbs are others. */
  const storeWith = (others: (inner: JobStore) => Partial<JobStore>): JobStore => {
    const inner = memoryJobStore();
    const verbs = ['create', 'read', 'change', 'renew', 'cancel', 'adopt', 'watch'] as const;
    const own = Object.fromEntries(verbs.map((verb) => [verb, (inner[verb] as () => unknown).bind(inner)]));
    return { ...(own as unknown as JobStore), ...others(inner) };
  };

  it('whose JSON looks like a refusal has succeeded with it: a model must not decide that its work was free', async () => {
    const text =
      '{"status":500,"headers":[],"problem":{"code":"x","status":500,"title":"t","detail":"the work itself"}}';
    const answer = await queueOf().submit(testExchange({ method: 'POST' }).exchange, { run: () => JSON.parse(text) });
    if (answer.kind !== 'accepted') throw new Error('refused');
    expect(await answer.job.ended).toMatchObject({ state: 'succeeded', result: text, problem: undefined });
  });

  it('that is to be cancelled as its client leaves, by a store that is away, is a fault and not the end of the process', async () => {
    const store = storeWith(() => ({ cancel: () => Promise.reject(new Error('redis is away')) }));
    const queue = queueOf({ store, wait: '10s', cancelOnLeave: true });
    const { exchange, faults } = testExchange({ method: 'POST' });
    const stop = deferred();
    const reply = queue.respond(exchange, { run: () => stop.promise });
    await vi.waitFor(() => expect(exchange.outcome).toBeUndefined());
    await new Promise((resolve) => setImmediate(resolve));
    exchange.abort();
    expect((await reply).status).toBe(202);
    await vi.waitFor(() => expect(faults.map(String)).toEqual(['Error: redis is away']));
    stop.resolve();
  });

  it('that was refused because the store answered too late is cancelled, so no other process runs it', async () => {
    let created = '';
    const ran = vi.fn();
    const inner = memoryJobStore({ now: () => clock });
    let clock = 1000;
    const store = {
      ...storeWith(() => ({})),
      create: async (job: Parameters<JobStore['create']>[0]) => {
        created = job.id;
        inner.create(job);
        throw new Error('no answer within 1000 ms');
      },
      cancel: (id: string) => inner.cancel(id),
      read: (id: string) => inner.read(id),
    };
    const tasks = { mesh: { run: ran } };
    const answer = await queueOf({ store, tasks }).submit(testExchange({ method: 'POST' }).exchange, { task: 'mesh' });
    expect(answer.kind).toBe('refused');
    await vi.waitFor(() => expect(inner.read(created)?.state).toBe('cancelled'));
    clock += 60_000;
    expect(inner.adopt(['mesh'], 'other', 1000)).toBeUndefined();
  });

  it('that is created while the queue closes is not run', async () => {
    const [creating, goOn] = [deferred(), deferred()];
    const store = storeWith((inner) => ({
      create: async (job) => {
        creating.resolve();
        await goOn.promise;
        return inner.create(job);
      },
    }));
    const queue = queueOf({ store });
    const run = vi.fn();
    const submitted = queue.submit(testExchange({ method: 'POST' }).exchange, { run });
    await creating.promise;
    await queue.close();
    goOn.resolve();
    const answer = await submitted;
    if (answer.kind === 'accepted') expect(await answer.job.ended).toMatchObject({ state: 'failed' });
    expect(run).not.toHaveBeenCalled();
  });

  it('whose answer is too large to be remembered can still be found', async () => {
    const queue = queueOf({ wait: '5s' });
    const app = express();
    app.post('/', expressGuard(idempotent({ maxBytes: 1000 })), async (req, res) =>
      sendExpress(req, res, await queue.respond(req.exchange, { run: () => 'x'.repeat(2000) })),
    );
    const url = await listening(createServer(app));
    const send = () => fetch(url, { method: 'POST', headers: { 'idempotency-key': 'k' } });
    const first = await send();
    expect(await first.json()).toHaveLength(2000);
    const repeat = await send();
    expect(repeat.status).toBe(409);
    expect(repeat.headers.get('location')).toBe(first.headers.get('content-location'));
    expect(repeat.headers.get('location')).toMatch(/^\/jobs\/.{22}\/result$/);
  });
});

describe('a recorded answer', () => {
  /** As the middleware `compression`: it wraps the response before, and compresses from the head on. */
  const compressing: express.RequestHandler = (_req, res, next) => {
    const { end, writeHead } = res;
    const chunks: Buffer[] = [];
    res.writeHead = ((...args: unknown[]) => {
      if (!res.getHeader('content-encoding')) {
        res.setHeader('content-encoding', 'gzip');
        res.removeHeader('content-length');
      }
      return Reflect.apply(writeHead, res, args);
    }) as never;
    const take = (chunk: unknown) => {
      if (typeof chunk === 'string' || chunk instanceof Uint8Array) chunks.push(Buffer.from(chunk));
    };
    res.write = ((chunk: unknown) => {
      if (!res.headersSent) res.writeHead(res.statusCode);
      take(chunk);
      return true;
    }) as never;
    res.end = ((chunk?: unknown) => {
      if (!res.headersSent) res.writeHead(res.statusCode);
      take(chunk);
      return Reflect.apply(end, res, [gzipSync(Buffer.concat(chunks))]);
    }) as never;
    next();
  };

  it.each([
    ['sent at once', (res: express.Response) => void res.json({ done: true })],
    [
      'streamed',
      (res: express.Response) => {
        res.type('json').write('{"done":');
        res.end('true}');
      },
    ],
    [
      'streamed after its head',
      (res: express.Response) => {
        res.writeHead(200, { 'content-type': 'application/json' });
        res.write('{"done":');
        res.end('true}');
      },
    ],
  ])('that is compressed on its way and %s is repeated in a form that a client can read', async (_how, answer) => {
    const app = express();
    app.post('/', compressing, expressGuard(idempotent()), (_req, res) => answer(res));
    const url = await listening(createServer(app));
    const send = () => fetch(url, { method: 'POST', headers: { 'idempotency-key': 'k' } });
    expect(await (await send()).json()).toEqual({ done: true });
    const repeat = await send();
    expect(repeat.headers.get('idempotency-replayed')).toBe('true');
    expect(await repeat.json()).toEqual({ done: true });
  });
});

describe('the problem of a failed job', () => {
  it('is worded by a default format, since the job does not keep the members of its code', async () => {
    const queue = jobs({ store: memoryJobStore() });
    const quota = {
      'violated-policies': ['day'],
      policies: [{ name: 'day', limit: 1, remaining: 0, resetAt: 0 }],
      limit: 1,
      remaining: 0,
      resetAt: 0,
      retryAt: null,
    };
    const { exchange, faults } = testExchange({ method: 'POST' });
    const reply = await queue.submit(exchange, {
      guards: [() => refuse(problem('quota-exceeded', quota))],
      run: () => 1,
    });
    if (reply.kind !== 'accepted') throw new Error('refused');
    const { problem: told } = (await reply.job.ended) ?? {};
    if (told === undefined) throw new Error('it has not failed');
    problemFormat({
      'quota-exceeded': ({ policies: [policy] }) => ({ body: { error: policy?.name } }),
      default: ({ code }) => ({ body: { error: code } }),
    })(exchange);
    expect(renderReply(refuse(told), exchange).body).toBe('{"error":"quota-exceeded"}');
    expect(renderReply(refuse(problem('quota-exceeded', quota)), exchange).body).toBe('{"error":"day"}');
    expect(faults).toEqual([]);
    await queue.close();
  });
});

describe('the files of jobs that are gone', () => {
  it('are removed also if those of another one cannot be', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'review-'));
    onTestFinished(() => rm(directory, { recursive: true }));
    const ids = ['AAAAAAAAAAAAAAAAAAAAAA', 'BBBBBBBBBBBBBBBBBBBBBA', 'CCCCCCCCCCCCCCCCCCCCCA'];
    for (const id of ids) await mkdir(join(directory, id));
    const files = folder({ directory });
    const removed: string[] = [];
    const faults: unknown[] = [];
    const queue = jobs({
      store: memoryJobStore(),
      results: {
        ...files,
        remove: async (id) => {
          removed.push(id);
          if (removed.length === 1) throw new Error('busy');
          await files.remove(id);
        },
      },
      onFault: (error) => faults.push(error),
    });
    await vi.waitFor(async () => expect(await readdir(directory)).toHaveLength(1));
    expect([...removed].sort()).toEqual(ids);
    expect(faults.map(String)).toEqual(['Error: busy']);
    await queue.close();
  });
});

describe('a body that breaks off', () => {
  it('lets nobody pass, also if the server does not know yet that the client has left', async () => {
    const { exchange } = testExchange({
      method: 'POST',
      headers: [['Idempotency-Key', 'k']],
      readBody: async () => 'aborted',
    });
    expect(exchange.outcome).toBeUndefined();
    expect(await idempotent()(exchange)).toMatchObject({ status: 503 });
  });
});

describe('an answer that cannot be sent', () => {
  it('after the store has taken it ends its connection, and not the process', async () => {
    const app = express();
    const store = memoryIdempotencyStore();
    const slow: IdempotencyStore = {
      begin: async (...args) => store.begin(...args),
      renew: async (...args) => store.renew(...args),
      finish: async (...args) => store.finish(...args),
      release: async (...args) => store.release(...args),
    };
    app.post('/', expressGuard(idempotent({ store: slow })), (_req, res) => {
      res.statusMessage = 'a name\nof a client';
      res.end('done');
    });
    const url = await listening(createServer(app));
    await expect(fetch(url, { method: 'POST', headers: { 'idempotency-key': 'k' } })).rejects.toThrow('fetch failed');
  });
});

describe('a place', () => {
  it('with a time that is none is shown without it', () => {
    const record = memoryJobStore().create({ id: 'a', owner: 'o', holder: 'h', lease: 1, ttl: 1, task: undefined });
    if (record.kind !== 'created') throw new Error(record.kind);
    for (const expectedStart of [Number.POSITIVE_INFINITY, Number.NaN, 9e15, null as never]) {
      const status = statusOf('/jobs', { ...record.record, place: { position: 3, expectedStart } });
      expect(status).toMatchObject({ position: 3 });
      expect(status).not.toHaveProperty('expected_start');
    }
  });
});

it('a reply over HTTP/2 is remembered also if the client left before it', async () => {
  let started = 0;
  const [begun, goOn, left] = [deferred(), deferred(), deferred()];
  const run = expressGuard(idempotent());
  const server = createHttp2Server((req, res) => {
    run(req as never, res as never, () => {
      started++;
      const { exchange } = req as unknown as { exchange: Exchange };
      exchange.onEnd(() => left.resolve());
      begun.resolve();
      void goOn.promise.then(() => sendExpress(req as never, res as never, jsonReply(202, { id: started })));
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const client = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  onTestFinished(() => {
    client.destroy();
    server.close();
  });
  const post = () => client.request({ ':method': 'POST', ':path': '/', 'idempotency-key': 'k' }).end();
  const first = post();
  await begun.promise;
  first.close();
  await left.promise;
  goOn.resolve();
  const repeat = post();
  const body = await repeat.setEncoding('utf8').toArray();
  expect([started, body.join('')]).toEqual([1, '{"id":1}']);
});

describe('on a runtime without Node responses', () => {
  async function served(run: (job: RunningJob) => unknown) {
    const directory = await mkdtemp(join(tmpdir(), 'review-'));
    const queue = jobs({ store: memoryJobStore(), results: folder({ directory }), maxStreams: 1 });
    onTestFinished(async () => {
      await queue.close();
      await rm(directory, { recursive: true });
    });
    const web = createGuard({ getConnInfo: () => ({ remote: { address: '192.0.2.1' } }) });
    const app = new Hono();
    app.post(
      '/jobs',
      web(() => undefined),
      async (c) => sendHono(c, await queue.respond(c.var.exchange, { run })),
    );
    app.get('/jobs/:id/result', web(queue.result()), (c) => c.text('unreached'));
    app.get('/jobs/:id/events', web(queue.events()), (c) => c.text('unreached'));
    app.get('/jobs/:id', web(queue.status()), (c) => c.text('unreached'));
    const { id, token } = (await (await app.request('/jobs', { method: 'POST' })).json()) as Record<string, string>;
    const get = (path: string, signal?: AbortSignal) =>
      app.request(`/jobs/${id}${path}`, { headers: { 'job-token': `${token}` }, signal: signal ?? null });
    return get;
  }

  it('a file is sent whole', async () => {
    const get = await served((job) => job.file('mesh.ply', 'text/plain', 'x'.repeat(300_000)));
    await vi.waitFor(async () =>
      expect((await (await get('')).json()) as object).toMatchObject({ status: 'succeeded' }),
    );
    expect(await (await get('/result')).text()).toHaveLength(300_000);
  });

  it('events arrive until the job ends', async () => {
    const finish = deferred();
    const get = await served(() => finish.promise);
    const events = (await get('/events')).text();
    finish.resolve();
    expect(await events).toContain('"status":"succeeded"');
  });
});

it('a client that leaves before its events are read does not keep their place', async () => {
  const queue = jobs({ store: memoryJobStore(), maxStreams: 1 });
  onTestFinished(() => queue.close());
  const alice = { id: 'alice', scheme: 'test', scopes: [], credentialId: 'c' };
  const stop = deferred();
  const answer = await queue.submit(testExchange({ method: 'POST', principal: alice }).exchange, {
    run: () => stop.promise,
  });
  if (answer.kind !== 'accepted') throw new Error('refused');
  const follow = async () => {
    const { exchange } = testExchange({ principal: alice });
    Object.assign(exchange.request, { param: () => answer.job.id });
    return { exchange, reply: (await queue.events()(exchange)) as Reply };
  };
  const first = await follow();
  const stream = first.reply.stream?.();
  expect((await follow()).reply.status).toBe(429);
  first.exchange.abort();
  await vi.waitFor(() => expect(stream?.destroyed).toBe(true));
  expect((await follow()).reply.status).toBe(200);
  stop.resolve();
});

it('an answer is offered to a store that is away for minutes until it is back, so no process runs the request again', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const memory = memoryIdempotencyStore();
  let isAway = false;
  const store: IdempotencyStore = {
    begin: (...args) => memory.begin(...args),
    renew: (...args) => !isAway && memory.renew(...args),
    release: (...args) => memory.release(...args),
    finish: async (...args) => {
      if (isAway) throw new Error('redis is away');
      return memory.finish(...args);
    },
  };
  const options = { method: 'POST', headers: [['Idempotency-Key', 'k']] } as const;
  const first = testExchange(options);
  let answer: ResponseReceiver = () => undefined;
  Object.assign(first.headers, {
    capture: (_maxBytes: number, done: ResponseReceiver) => {
      answer = done;
    },
  });
  expect(await idempotent({ store })(first.exchange)).toBeUndefined();
  isAway = true;
  await answer({ status: 200, headers: [], body: Buffer.from('done') });
  first.exchange.end({ kind: 'completed', status: 200 });
  await vi.advanceTimersByTimeAsync(300_000);
  isAway = false;
  await vi.advanceTimersByTimeAsync(16_000);
  const elsewhere = testExchange(options);
  expect(await idempotent({ store })(elsewhere.exchange)).toMatchObject({ status: 200 });
  expect(vi.getTimerCount()).toBe(0);
});

it('a repeat of an answer without a body is completed, and not refused', async () => {
  const outcomes: unknown[] = [];
  const app = express();
  const watch: Guard = (exchange) => void exchange.onEnd((outcome) => outcomes.push(outcome));
  app.post('/', expressGuard(watch, idempotent()), (_req, res) => void res.status(204).end());
  const url = await listening(createServer(app));
  for (let i = 0; i < 2; i++) await fetch(url, { method: 'POST', headers: { 'idempotency-key': 'k' } });
  await vi.waitFor(() => expect(outcomes).toEqual(Array(2).fill({ kind: 'completed', status: 204 })));
});

it('a full memory store forgets the jobs of anonymous callers, who are all one, before the results of a client', () => {
  const store = memoryJobStore({ maxJobs: 8 });
  const ended = (id: string, owner: string) => {
    expect(store.create({ id, owner, holder: 'h', lease: 1000, ttl: 1000, task: undefined }).kind).toBe('created');
    store.cancel(id);
  };
  const own = ['a', 'b', 'c'];
  for (const id of own) ended(id, newOwner({ principal: { id: 'alice' } } as Exchange).owner);
  for (let i = 0; i < 20; i++) ended(`anonymous ${i}`, newOwner({ principal: undefined } as Exchange).owner);
  expect(own.filter((id) => store.read(id) === undefined)).toEqual([]);
});
