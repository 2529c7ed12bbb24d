import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:http2';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import express from 'express';
import fastify from 'fastify';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { guard } from '../../src/adapters/express.js';
import { guard as fastifyGuard } from '../../src/adapters/fastify.js';
import { renderReply } from '../../src/core/render-reply.js';
import type { ResponseHeaders, ResponseReceiver } from '../../src/core/request-view.js';
import {
  authenticate,
  clientIp,
  type Guard,
  limit,
  OptionError,
  problem,
  refuse,
  reportFaults,
  sequence,
  sharedSecret,
  slidingWindow,
} from '../../src/index.js';
import type { IdempotencyStore } from '../../src/jobs/idempotency/idempotency-store.js';
import { type IdempotentOptions, idempotent } from '../../src/jobs/idempotency/idempotent.js';
import { memoryIdempotencyStore } from '../../src/jobs/idempotency/memory-idempotency-store.js';
import { upload } from '../../src/upload/index.js';
import { testExchange } from '../exchange-fixture.js';
import { Client } from '../raw-client.js';
import { until } from '../redis/processes.js';
import { listening } from '../worker/scene.js';
import { type Handle, post } from './idempotent-scene.js';

interface ServiceOptions extends IdempotentOptions {
  readonly before?: readonly Guard[];
  readonly later?: readonly Guard[];
  readonly parser?: 'early';
}

/** A service on Express, and what it has seen. */
async function service(handle: Handle, { before = [], later = [], parser, ...options }: ServiceOptions = {}) {
  const seen = { runs: 0, faults: [] as string[] };
  const app = express();
  app.set('env', 'test');
  if (parser === 'early') app.use(express.text({ type: '*/*' }));
  app.post(
    '/{*path}',
    guard(
      reportFaults((error) => seen.faults.push(String(error))),
      ...before,
      idempotent(options),
      ...later,
    ),
    express.text({ type: '*/*', limit: '8mb' }),
    async (req, res) => {
      seen.runs++;
      const { status = 200, headers = {}, body = '' } = await handle(req.exchange, String(req.body));
      res.status(status).set(headers).send(body);
    },
  );
  const url = await listening(createServer(app));
  return { url, seen };
}

/** A promise and its end. */
function gate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

/** A store of which single verbs are replaced. */
function storeWith(
  parts: Partial<IdempotencyStore>,
  store: IdempotencyStore = memoryIdempotencyStore(),
): IdempotencyStore {
  return {
    begin: (...args) => store.begin(...args),
    renew: (...args) => store.renew(...args),
    finish: (...args) => store.finish(...args),
    release: (...args) => store.release(...args),
    ...parts,
  };
}

const done: Handle = () => ({ body: 'done' });

describe('between two processes, a request with a key', () => {
  /** Two services that share a store. The handlers wait. */
  async function twoProcesses(options: IdempotentOptions = {}) {
    const store = memoryIdempotencyStore();
    const { open, opened } = gate();
    const slow: Handle = async () => {
      await opened;
      return { body: 'done' };
    };
    const one = await service(slow, { store, ...options });
    const two = await service(slow, { store, ...options });
    const first = post(one.url, 'key');
    await until('the first one runs', () => one.seen.runs === 1);
    return { one, two, first, open, store };
  }

  it('is refused with 409 and Retry-After while the other one runs it, and repeated afterwards', async () => {
    const { two, first, open } = await twoProcesses();
    const repeat = await post(two.url, 'key');
    expect(repeat).toMatchObject({ status: 409, code: 'idempotency-conflict' });
    expect(repeat.headers.get('retry-after')).toBe('2');
    expect(await post(two.url, 'key', 'another body')).toMatchObject({ status: 422 });
    open();
    expect(await first).toMatchObject({ status: 200, replayed: false });
    expect(await post(two.url, 'key')).toMatchObject({ status: 200, text: 'done', replayed: true });
    expect(two.seen).toEqual({ runs: 0, faults: [] });
  });

  it('waits for the other one if repeats join all', async () => {
    const { two, first, open } = await twoProcesses({ join: 'all' });
    const repeats = [post(two.url, 'key'), post(two.url, 'key')];
    await sleep(100);
    open();
    for (const repeat of await Promise.all(repeats)) expect(repeat).toMatchObject({ text: 'done', replayed: true });
    expect(await first).toMatchObject({ replayed: false });
    expect(two.seen).toEqual({ runs: 0, faults: [] });
  });

  it('waits no longer than it may', async () => {
    const { one, two, first, open } = await twoProcesses({ join: 'all', joinTimeout: '100ms' });
    expect(await post(two.url, 'key')).toMatchObject({ status: 409, code: 'idempotency-conflict' });
    expect(await post(one.url, 'key')).toMatchObject({ status: 409, code: 'idempotency-conflict' });
    open();
    await first;
  });

  it('runs when the lease of a process that died has ended', async () => {
    const store = memoryIdempotencyStore();
    const dead = storeWith({ renew: () => new Promise(() => {}) }, store);
    const one = await service(() => sleep(60_000, { body: '' }, { ref: false }), { store: dead, lease: '1s' });
    const two = await service(done, { store, join: 'all' });
    void post(one.url, 'key').catch(() => undefined);
    await until('the first one runs', () => one.seen.runs === 1);
    expect(await post(two.url, 'key')).toMatchObject({ text: 'done', replayed: false });
    expect(two.seen.runs).toBe(1);
  });
});

describe('an answer', () => {
  it('is not sent before the store has it', async () => {
    const { open, opened } = gate();
    const memory = memoryIdempotencyStore();
    const steps: string[] = [];
    const store = storeWith(
      {
        async finish(...args) {
          steps.push('offered');
          await opened;
          return memory.finish(...args);
        },
      },
      memory,
    );
    const { url } = await service(done, { store });
    const answer = post(url, 'key').then(() => steps.push('sent'));
    await until('it was offered', () => steps.length === 1);
    await sleep(50);
    expect(steps).toEqual(['offered']);
    open();
    await answer;
    expect(steps).toEqual(['offered', 'sent']);
  });

  it.each([
    ['with a length', { 'Content-Length': '6' }],
    ['without a length', {}],
  ])('that is written in pieces %s never arrives whole before the store has it', async (_how, headers) => {
    const { open, opened } = gate();
    const memory = memoryIdempotencyStore();
    const store = storeWith({ finish: (...args) => opened.then(() => memory.finish(...args)) }, memory);
    const app = express();
    let ended: boolean[] = [];
    app.post('/', guard(idempotent({ store, timeout: '30s' })), (_req, res) => {
      res.writeHead(200, headers);
      res.write('one');
      res.write('two');
      res.end();
      ended = [res.writableEnded, res.headersSent];
    });
    const { port } = new URL(await listening(createServer(app)));
    const client = await Client.connect(Number(port));
    client.send('POST /', 'Idempotency-Key: key', 'Content-Length: 0');
    let received = '';
    client.socket.on('data', (chunk) => {
      received += chunk;
    });
    await until('the first piece arrived', () => received.includes('one'));
    await sleep(50);
    expect(received).not.toMatch('Content-Length' in headers ? /two/ : /0\r\n\r\n$/);
    expect(ended).toEqual([true, true]);
    open();
    expect((await client.answer()).body.toString()).toBe('onetwo');
    client.socket.destroy();
  });

  it('is sent if the store fails, given to repeats in this process, and offered to the store again', async () => {
    const memory = memoryIdempotencyStore();
    let offers = 0;
    const store = storeWith(
      {
        async finish(...args) {
          if (offers++ === 0) throw new Error('the store is down');
          return memory.finish(...args);
        },
      },
      memory,
    );
    const { url, seen } = await service(done, { store });
    expect(await post(url, 'key')).toMatchObject({ status: 200, text: 'done' });
    expect(await post(url, 'key')).toMatchObject({ text: 'done', replayed: true });
    expect(seen).toEqual({ runs: 1, faults: ['Error: the store is down'] });
    await until('it was offered again', () => offers === 2);
    expect(await post(url, 'key')).toMatchObject({ text: 'done', replayed: true });
    expect(seen.runs).toBe(1);
  });

  it('that comes after the lease was lost is sent and reported', async () => {
    const { url, seen } = await service(done, { store: storeWith({ finish: () => false }) });
    expect(await post(url, 'key')).toMatchObject({ text: 'done' });
    expect(seen.faults).toEqual([expect.stringContaining('idempotent lost its key before the request was answered')]);
  });

  it('with a status that no reply can have is not repeated, and does not run again', async () => {
    const { url, seen } = await service(() => ({ status: 799, body: 'odd' }), { remember: () => true });
    expect(await post(url, 'key')).toMatchObject({ status: 799, text: 'odd' });
    expect(await post(url, 'key')).toMatchObject({ status: 409, code: 'idempotency-answer-too-large' });
    expect(seen).toEqual({ runs: 1, faults: [] });
  });

  it('of a handler that sends the reply of a worker is a refusal, and is forgotten', async () => {
    const handle: Handle = (exchange) => {
      const { status, headers, body = '' } = renderReply(refuse(problem('deadline-malformed')), exchange);
      return { status, headers: Object.fromEntries(headers), body };
    };
    const { url, seen } = await service(handle);
    for (const run of [1, 2]) {
      expect(await post(url, 'key')).toMatchObject({ status: 400, code: 'deadline-malformed', replayed: false });
      expect(seen.runs).toBe(run);
    }
  });
});

describe('a store that', () => {
  it.each([
    [
      'throws',
      () => {
        throw new Error('it is down');
      },
      'Error: it is down',
    ],
    ['rejects', () => Promise.reject(new Error('it is down')), 'Error: it is down'],
    [
      'does not answer',
      () => new Promise(() => {}),
      'Error: gatewarden: the idempotency store did not answer within 50 ms',
    ],
    ['is full', () => ({ kind: 'full' }), 'Error: gatewarden: the idempotency store is full'],
    [
      'answers strangely',
      () => ({ kind: 'go on' }),
      "TypeError: gatewarden: an idempotency store's begin must return a Begun",
    ],
  ])('%s never lets a request run', async (_what, begin, fault) => {
    const store = storeWith({ begin: begin as never });
    const { url, seen } = await service(done, { store, timeout: '50ms' });
    const answer = await post(url, 'key');
    expect(answer).toMatchObject({ status: 503, code: 'idempotency-unavailable' });
    expect(answer.headers.get('retry-after')).toBe('5');
    expect(seen).toEqual({ runs: 0, faults: [fault] });
  });

  it('gives the key too late frees it again', async () => {
    const memory = memoryIdempotencyStore();
    const { open, opened } = gate();
    let isSlow = true;
    const store = storeWith(
      {
        async begin(...args) {
          const begun = memory.begin(...args);
          if (isSlow) await opened;
          return begun;
        },
      },
      memory,
    );
    const { url, seen } = await service(done, { store, timeout: '50ms' });
    expect(await post(url, 'key')).toMatchObject({ status: 503 });
    expect(memory.size).toBe(1);
    open();
    await until('the key is free', () => memory.size === 0);
    isSlow = false;
    expect(await post(url, 'key')).toMatchObject({ status: 200 });
    expect(seen.runs).toBe(1);
  });
});

describe('a key', () => {
  it('is kept for as long as the handler runs, by renewals', async () => {
    const memory = memoryIdempotencyStore();
    const renew = vi.fn(memory.renew.bind(memory));
    const { url, seen } = await service(() => sleep(2400, { body: 'done' }), {
      store: storeWith({ renew }, memory),
      lease: '1500ms',
    });
    const other = await service(done, { store: memory });
    const first = post(url, 'key');
    await until('the handler runs', () => seen.runs === 1);
    await sleep(1900);
    expect(await post(other.url, 'key')).toMatchObject({ status: 409 });
    expect(await first).toMatchObject({ text: 'done' });
    expect(renew.mock.calls.length).toBeGreaterThanOrEqual(2);
  });

  it('is free again when the client has left and the handler has not answered in time', async () => {
    let isStuck = true;
    const handle: Handle = () => (isStuck ? new Promise(() => {}) : { body: 'done' });
    const { url, seen } = await service(handle, { handlerTimeout: '100ms' });
    const leaving = new AbortController();
    const first = post(url, 'key', 'x', { signal: leaving.signal }).catch(() => undefined);
    await until('the handler runs', () => seen.runs === 1);
    isStuck = false;
    leaving.abort();
    await first;
    expect(await post(url, 'key', 'x')).toMatchObject({ text: 'done', replayed: false });
  });

  it('is free at once when the client leaves while a later guard waits, and the handler never runs', async () => {
    const memory = memoryIdempotencyStore();
    const { open, opened } = gate();
    let waiting = 0;
    const slow: Guard = async () => {
      waiting++;
      await opened;
      return undefined;
    };
    const { url, seen } = await service(done, { store: memory, later: [slow] });
    const leaving = new AbortController();
    const first = post(url, 'key', 'x', { signal: leaving.signal }).catch(() => undefined);
    await until('the guard waits', () => waiting === 1);
    expect(memory.size).toBe(1);
    leaving.abort();
    await first;
    await sleep(50);
    open();
    await until('the key is free', () => memory.size === 0);
    expect(seen).toEqual({ runs: 0, faults: [] });
  });

  it('lets sixteen repeats wait, and refuses more', async () => {
    const { open, opened } = gate();
    const { url, seen } = await service(async () => {
      await opened;
      return { body: 'done' };
    });
    const first = post(url, 'key');
    await until('the handler runs', () => seen.runs === 1);
    const repeats = Array.from({ length: 18 }, () => post(url, 'key'));
    await until('two were refused', async () => {
      const settled = await Promise.all(repeats.map((repeat) => Promise.race([repeat, sleep(1)])));
      return settled.filter((answer) => answer?.status === 409).length === 2;
    });
    open();
    const answers = await Promise.all([first, ...repeats]);
    expect(answers.filter(({ text }) => text === 'done')).toHaveLength(17);
    expect(seen.runs).toBe(1);
  });

  it('that is sent in two lines is refused', async () => {
    const { url, seen } = await service(done);
    const client = await Client.connect(Number(new URL(url).port));
    client.send('POST /', 'Idempotency-Key: a', 'Idempotency-Key: a', 'Content-Length: 0');
    const answer = await client.answer();
    client.socket.destroy();
    expect([answer.status, answer.json()]).toMatchObject([400, { code: 'idempotency-key-malformed' }]);
    expect(seen.runs).toBe(0);
  });

  it('belongs to a principal, not to its credential', async () => {
    const secrets = ['a'.repeat(32), 'b'.repeat(32)];
    const { url, seen } = await service(done, { before: [authenticate(sharedSecret({ secrets }))] });
    const [old, rotated] = secrets.map((secret) => ({ headers: { authorization: `Bearer ${secret}` } }));
    expect(await post(url, 'key', 'x', old)).toMatchObject({ replayed: false });
    expect(await post(url, 'key', 'x', rotated)).toMatchObject({ replayed: true });
    expect(await post(url, 'key', 'x')).toMatchObject({ status: 401 });
    expect(seen.runs).toBe(1);
  });

  it('belongs to the address behind a trusted proxy, and to nobody if the proxy is not known', async () => {
    const behind = (ip: string) => ({ headers: { 'x-forwarded-for': ip } });
    const known = await service(done, { before: [clientIp({ trust: ['loopback'] })] });
    expect(await post(known.url, 'key', 'x', behind('203.0.113.7'))).toMatchObject({ replayed: false });
    expect(await post(known.url, 'key', 'x', behind('203.0.113.8'))).toMatchObject({ replayed: false });
    expect(await post(known.url, 'key', 'x', behind('203.0.113.7'))).toMatchObject({ replayed: true });
    const unknown = await service(done);
    expect(await post(unknown.url, 'key', 'x', behind('203.0.113.7'))).toMatchObject({ status: 500 });
    expect(unknown.seen).toEqual({ runs: 0, faults: [expect.stringContaining('put authenticate(...), or clientIp(')] });
  });
});

describe('a body', () => {
  it('that a parser has read before is a fault, and the handler does not run', async () => {
    const { url, seen } = await service(done, { parser: 'early' });
    expect(await post(url, 'key')).toMatchObject({ status: 500 });
    expect(seen).toEqual({
      runs: 0,
      faults: ['Error: gatewarden: the body was read before idempotent; put guards before body parsers'],
    });
  });

  it('that is too large is compared by its length, its type and its digest', async () => {
    const { url, seen } = await service((_exchange, body) => ({ body: String(body.length) }), {
      maxRequestBytes: '1kb',
    });
    const send = (size: number, type = 'text/plain', digest = 'sha-256=:a:') =>
      post(url, 'key', 'x'.repeat(size), { headers: { 'content-type': type, 'content-digest': digest } });
    expect(await send(5000)).toMatchObject({ text: '5000', replayed: false });
    expect(await send(5000)).toMatchObject({ text: '5000', replayed: true });
    expect(await send(5001)).toMatchObject({ status: 422 });
    expect(await send(5000, 'text/html')).toMatchObject({ status: 422 });
    expect(await send(5000, 'text/plain', 'sha-256=:b:')).toMatchObject({ status: 422 });
    expect(seen.runs).toBe(1);
  });

  it('that is too large and does not say so is refused', async () => {
    const { url, seen } = await service(done, { maxRequestBytes: '1kb' });
    const client = await Client.connect(Number(new URL(url).port));
    client.send('POST /', 'Idempotency-Key: a', 'Transfer-Encoding: chunked');
    client.socket.write(`800\r\n${'x'.repeat(2048)}\r\n0\r\n\r\n`);
    const answer = await client.answer();
    client.socket.destroy();
    expect([answer.status, answer.json()]).toMatchObject([413, { code: 'content-too-large' }]);
    expect(seen.runs).toBe(0);
  });
});

describe('the order of guards', () => {
  const auth = authenticate(sharedSecret({ secrets: ['a'.repeat(32)] }));
  const policies = slidingWindow({ limit: 5, window: '1m' });

  it.each([
    ['authenticate', [idempotent(), auth], 'put authenticate(...) before idempotent(...)'],
    [
      'limit by principal',
      [auth, limit({ by: 'principal', policies }), idempotent()],
      'put idempotent(...) before limit(...)',
    ],
    [
      'upload',
      [upload({ files: { types: ['image/png'], maxBytes: 1 } }), idempotent()],
      'put idempotent(...) before upload(...)',
    ],
  ])('is checked for %s', (_what, guards, said) => {
    expect(() => sequence(...(guards as Guard[]))).toThrow(said);
  });

  it('allows a limit by address in front, and one guard only once', () => {
    const front = limit({ by: 'client-ip', policies });
    expect(() => sequence(front, auth, idempotent(), limit({ by: 'principal', policies }))).not.toThrow();
    const one = idempotent();
    expect(() => sequence(one, one)).toThrow('appears twice');
  });
});

describe('idempotent', () => {
  it('is a fault on a server that cannot read bodies or responses, and never lets a request pass', async () => {
    for (const readBody of [undefined, async () => new Uint8Array()]) {
      const { exchange, faults } = testExchange({ method: 'POST', headers: [['Idempotency-Key', 'key']], readBody });
      expect(await sequence(idempotent())(exchange)).toMatchObject({ status: 500 });
      expect(String(faults[0])).toContain(readBody === undefined ? 'has no readBody' : 'has no capture');
    }
  });

  it('frees the key if the response has begun before it', async () => {
    const memory = memoryIdempotencyStore();
    const app = express();
    app.set('env', 'test');
    const faults: string[] = [];
    app.use((_req, res, next) => {
      res.write('too early');
      next();
    });
    app.post(
      '/',
      guard(
        reportFaults((error) => faults.push(String(error))),
        idempotent({ store: memory }),
      ),
    );
    const url = await listening(createServer(app));
    await expect(post(url, 'key')).rejects.toThrow();
    expect(faults[0]).toMatch(/ERR_HTTP_HEADERS_SENT|Cannot set headers/);
    expect(memory.size).toBe(0);
  });

  it('works over HTTP/2', async () => {
    let runs = 0;
    const app = fastify({ http2: true });
    app.post('/', { onRequest: fastifyGuard(idempotent()) }, (_request, reply) => {
      runs++;
      void reply.header('x-model', 'large').code(201).send('done');
    });
    const client = connect(await app.listen({ host: '127.0.0.1', port: 0 }));
    onTestFinished(async () => {
      client.close();
      await app.close();
    });
    const ask = async () => {
      const stream = client.request({ ':method': 'POST', ':path': '/', 'idempotency-key': 'key' });
      stream.end();
      const [headers] = await once(stream, 'response');
      return [headers[':status'], headers['x-model'], headers['idempotency-replayed'], await text(stream)];
    };
    expect(await ask()).toEqual([201, 'large', undefined, 'done']);
    expect(await ask()).toEqual([201, 'large', 'true', 'done']);
    expect(runs).toBe(1);
  });

  it('leaves no timer behind, whatever becomes of the request', async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const run = idempotent({ handlerTimeout: '1m' });
    async function begin(key: string) {
      const test = testExchange({ method: 'POST', headers: [['Idempotency-Key', key]] });
      let answer: ResponseReceiver = () => undefined;
      const capture: ResponseHeaders['capture'] = (_maxBytes, done) => {
        answer = done;
      };
      Object.assign(test.headers, { capture });
      expect(await sequence(run)(test.exchange)).toBeUndefined();
      return { ...test, answer: (status: number) => answer({ status, headers: [], body: new Uint8Array() }) };
    }
    const answered = await begin('a');
    await answered.answer(200);
    answered.exchange.end({ kind: 'completed', status: 200 });
    const failed = await begin('b');
    await failed.answer(500);
    failed.exchange.end({ kind: 'completed', status: 500 });
    const left = await begin('c');
    left.exchange.abort();
    await left.answer(200);
    expect(vi.getTimerCount()).toBe(0);
    const stuck = await begin('d');
    expect(vi.getTimerCount()).toBe(1);
    stuck.exchange.abort();
    expect(vi.getTimerCount()).toBe(2);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(vi.getTimerCount()).toBe(0);
    await begin('d');
    const streaming = await begin('e');
    streaming.headers.send();
    streaming.exchange.abort();
    await vi.advanceTimersByTimeAsync(10_000);
    expect((await begin('e')).faults).toEqual([]);
  });

  it.each([
    ['a URL as a store', { store: 'redis://:p4ssw0rd@host' }, '"store"'],
    ['a ttl without a unit', { ttl: 60 }, '"ttl" needs a unit'],
    ['answers of a gigabyte', { maxBytes: '1gb' }, '"maxBytes"'],
    ['bodies of no bytes', { maxRequestBytes: 0 }, '"maxRequestBytes"'],
    ['required that is a text', { required: 'yes' }, '"required"'],
    ['another way to join', { join: 'none' }, '"join" must be one of process, all'],
    ['a lease of a moment', { lease: '10ms' }, '"lease" must be at least \'1s\''],
    ['statuses in a list', { remember: [200] }, '"remember"'],
    ['a timeout of an hour', { timeout: '1h' }, '"timeout"'],
    ['a misspelt option', { tll: '1s' }, 'Did you mean "ttl"?'],
  ])('refuses %s, and shows no password', (_what, options, named) => {
    const make = () => idempotent(options as IdempotentOptions);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(named);
    expect(make).not.toThrow('p4ssw0rd');
  });
});
