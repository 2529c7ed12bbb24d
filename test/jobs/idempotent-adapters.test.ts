import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import {
  type Exchange,
  type Guard,
  jsonReply,
  limit,
  problem,
  refuse,
  reportFaults,
  requestId,
  slidingWindow,
} from '../../src/index.js';
import type { IdempotencyStore } from '../../src/jobs/idempotency/idempotency-store.js';
import { type IdempotentOptions, idempotent } from '../../src/jobs/idempotency/idempotent.js';
import { memoryIdempotencyStore } from '../../src/jobs/idempotency/memory-idempotency-store.js';
import { upload } from '../../src/upload/index.js';
import { until } from '../redis/processes.js';
import { pngOf } from '../upload/hostile-images.js';
import { FRAMEWORKS, type Handle, type HandlerAnswer, post } from './idempotent-scene.js';

/** Whoever a header names, in place of credentials. */
const byHeader: Guard = (exchange) => {
  const [id] = exchange.request.fieldLines('x-client');
  if (id !== undefined) exchange.principal = { id, scheme: 'test', scopes: [], credentialId: id };
  return undefined;
};

describe.each(FRAMEWORKS)('idempotent, through %s', (_name, serve) => {
  /** A service that counts what its handler did. */
  async function service(
    answer: HandlerAnswer | Handle,
    options: IdempotentOptions = {},
    later: readonly Guard[] = [],
  ) {
    const seen = { runs: 0, bodies: [] as string[], faults: [] as string[], exchanges: [] as Exchange[] };
    const guards: Guard[] = [
      reportFaults((error) => seen.faults.push(String(error))),
      requestId(),
      byHeader,
      idempotent(options),
      ...later,
    ];
    const url = await serve(guards, async (exchange, body) => {
      seen.runs++;
      seen.bodies.push(body);
      seen.exchanges.push(exchange);
      return typeof answer === 'function' ? answer(exchange, body) : answer;
    });
    return { url, seen };
  }

  const CREATED: HandlerAnswer = {
    status: 201,
    headers: { 'content-type': 'text/plain', location: '/meshes/7', 'x-model': 'large', 'set-cookie': 'a=b' },
    body: 'a mesh',
  };

  it('answers a repeat as the first request, marked, runs and charges it once, and sets its own headers', async () => {
    const quota = limit({ by: 'client-ip', policies: slidingWindow({ limit: 5, window: '1h' }) });
    const { url, seen } = await service(CREATED, {}, [quota]);
    const first = await post(`${url}/mesh`, 'key-1');
    expect(first).toMatchObject({ status: 201, text: 'a mesh', replayed: false });
    const repeat = await post(`${url}/mesh`, '"key-1"');
    expect(repeat).toMatchObject({ status: 201, text: 'a mesh', replayed: true });
    for (const name of ['content-type', 'location', 'x-model', 'etag']) {
      expect([name, repeat.headers.get(name)]).toEqual([name, first.headers.get(name)]);
    }
    for (const name of ['set-cookie', 'ratelimit']) expect([name, repeat.headers.get(name)]).toEqual([name, null]);
    expect(repeat.headers.get('x-request-id')).not.toBe(first.headers.get('x-request-id'));
    expect(seen).toMatchObject({ runs: 1, bodies: ['{"prompt":"a cat"}'], faults: [] });
    expect((await post(`${url}/mesh`, 'key-2')).headers.get('ratelimit')).toContain('r=3');
  });

  it('lets a repeat wait for the first one, and gives it the same answer', async () => {
    const quota = limit({ by: 'client-ip', policies: slidingWindow({ limit: 1, window: '1h' }) });
    const { url, seen } = await service(() => sleep(100, { status: 201, body: 'a mesh' }), {}, [quota]);
    const answers = await Promise.all(Array.from({ length: 3 }, () => post(`${url}/mesh`, 'key')));
    expect(answers.map(({ status, text }) => [status, text])).toEqual(Array(3).fill([201, 'a mesh']));
    expect(answers.filter(({ replayed }) => replayed)).toHaveLength(2);
    expect(seen).toMatchObject({ runs: 1, faults: [] });
  });

  it('takes neither another body nor another query for a repeat, while it runs and afterwards', async () => {
    const { url, seen } = await service(() => sleep(100, { body: 'done' }));
    const first = post(`${url}/mesh`, 'key');
    await until('the handler runs', () => seen.runs === 1);
    for (const time of ['meanwhile', 'afterwards']) {
      const body = await post(`${url}/mesh`, 'key', '{"prompt":"a dog"}');
      expect([time, body]).toMatchObject([time, { status: 422, code: 'idempotency-key-reused' }]);
      expect(await post(`${url}/mesh?large`, 'key')).toMatchObject({ status: 422, code: 'idempotency-key-reused' });
      expect(await first).toMatchObject({ status: 200, text: 'done' });
    }
    expect(seen.runs).toBe(1);
  });

  it('keeps the keys of clients, paths and methods apart', async () => {
    const { url, seen } = await service(({ principal }) => ({ body: `for ${principal?.id}` }));
    const send = (client: string, path = '/mesh', method = 'POST') =>
      post(url + path, 'key', 'x', { headers: { 'x-client': client }, method });
    expect(await send('ann')).toMatchObject({ text: 'for ann', replayed: false });
    expect(await send('bob')).toMatchObject({ text: 'for bob', replayed: false });
    expect(await send('ann', '/other')).toMatchObject({ replayed: false });
    expect(await send('ann', '/mesh', 'PUT')).toMatchObject({ replayed: false });
    expect(await send('ann')).toMatchObject({ text: 'for ann', replayed: true });
    expect(seen.runs).toBe(4);
  });

  it.each([
    ['a handler answers with 503', { status: 503, body: 'busy' }, 503],
    ['a handler answers with 429', { status: 429, body: 'busy' }, 429],
    [
      'a handler throws',
      () => {
        throw new Error('broken');
      },
      500,
    ],
  ])('forgets a request if %s, so that it can be sent again', async (_what, answer: HandlerAnswer | Handle, status) => {
    const { url, seen } = await service(answer);
    for (const run of [1, 2]) {
      expect(await post(`${url}/mesh`, 'key')).toMatchObject({ status, replayed: false });
      expect(seen.runs).toBe(run);
    }
  });

  it('remembers what the service says', async () => {
    const { url, seen } = await service({ status: 500, body: 'no' }, { remember: (status) => status !== 404 });
    await post(`${url}/mesh`, 'key');
    expect(await post(`${url}/mesh`, 'key')).toMatchObject({ status: 500, text: 'no', replayed: true });
    expect(seen.runs).toBe(1);
  });

  it('forgets a request that a later guard refuses, but not the answer of a guard', async () => {
    let asked = 0;
    const busy: Guard = async () => {
      asked++;
      await sleep(5);
      if (asked < 3) return refuse(problem('not-ready'));
      return jsonReply(202, { id: asked }, [['Location', '/jobs/1']]);
    };
    const { url, seen } = await service({}, {}, [busy]);
    const answers = [];
    for (let i = 0; i < 4; i++) answers.push(await post(`${url}/mesh`, 'key'));
    expect(answers.map(({ status, replayed }) => [status, replayed])).toEqual([
      [503, false],
      [503, false],
      [202, false],
      [202, true],
    ]);
    expect(answers[3]).toMatchObject({ text: '{"id":3}' });
    expect(answers[3]?.headers.get('location')).toBe('/jobs/1');
    expect([asked, seen.runs, seen.faults]).toEqual([3, 0, []]);
  });

  it('never runs a request again whose answer was too large, and says where its result is', async () => {
    const large = { status: 202, headers: { location: '/jobs/9' }, body: 'x'.repeat(2000) };
    const { url, seen } = await service(large, { maxBytes: '1kb' });
    expect(await post(`${url}/mesh`, 'key')).toMatchObject({ status: 202, text: large.body });
    const repeat = await post(`${url}/mesh`, 'key');
    expect(repeat).toMatchObject({ status: 409, code: 'idempotency-answer-too-large' });
    expect(repeat.headers.get('location')).toBe('/jobs/9');
    expect(repeat.headers.get('retry-after')).toBe(null);
    expect(seen.runs).toBe(1);
  });

  it('repeats an answer that was sent in pieces, and one without a body', async () => {
    const { url } = await service(({ request }) =>
      request.url === '/pieces' ? { body: ['one ', 'two ', 'three'] } : { status: 204 },
    );
    for (const replayed of [false, true]) {
      expect(await post(`${url}/pieces`, 'key')).toMatchObject({ status: 200, text: 'one two three', replayed });
      expect(await post(`${url}/none`, 'key')).toMatchObject({ status: 204, text: '', replayed });
    }
  });

  it('leaves the body for what comes later', async () => {
    const { url, seen } = await service({ body: 'ok' });
    const body = 'x'.repeat(500_000);
    await post(`${url}/mesh`, 'key', body);
    expect(seen.bodies).toEqual([body]);
    await post(`${url}/mesh`, 'key2', null);
    expect(seen.bodies[1]).toBe('');
  });

  it('takes a multipart body with another boundary for the same one, and leaves its files for upload', async () => {
    const form = upload({ files: { types: ['image/png'], maxBytes: '10kb' } });
    const { url, seen } = await service(({ upload }) => ({ body: String(upload?.files.length) }), {}, [form]);
    const send = (boundary: string, width: number) => {
      const head = `--${boundary}\r\nContent-Disposition: form-data; name="photo"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n`;
      const body = Buffer.concat([
        Buffer.from(head),
        pngOf({ width, height: 1 }),
        Buffer.from(`\r\n--${boundary}--\r\n`),
      ]);
      return post(`${url}/mesh`, 'key', body, {
        headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
      });
    };
    expect(await send('one', 1)).toMatchObject({ status: 200, text: '1', replayed: false });
    expect(await send('two', 1)).toMatchObject({ status: 200, text: '1', replayed: true });
    expect(await send('two', 2)).toMatchObject({ status: 422, code: 'idempotency-key-reused' });
    expect(seen).toMatchObject({ runs: 1, faults: [] });
  });

  it.each([
    ['a list', 'a, b'],
    ['a list of strings', '"a", "b"'],
    ['an empty string', '""'],
    ['a space', 'a b'],
    ['a string without an end', '"a'],
    ['a string with parameters', '"a";b=1'],
    ['256 characters', 'x'.repeat(256)],
  ])('refuses a key of %s, and reads no body', async (_what, key) => {
    const { url, seen } = await service({ body: 'ok' });
    expect(await post(`${url}/mesh`, key)).toMatchObject({ status: 400, code: 'idempotency-key-malformed' });
    expect(seen.runs).toBe(0);
  });

  it('passes requests without a key unless they need one, and safe methods with one', async () => {
    const open = await service({ body: 'ok' });
    for (const run of [1, 2]) {
      expect(await post(`${open.url}/mesh`, undefined)).toMatchObject({ status: 200, replayed: false });
      expect(open.seen.runs).toBe(run);
    }
    const strict = await service({ body: 'ok' }, { required: true });
    expect(await post(`${strict.url}/mesh`, undefined)).toMatchObject({ status: 400, code: 'idempotency-key-missing' });
    for (const method of ['PUT', 'DELETE']) {
      expect(await post(`${strict.url}/mesh`, undefined, null, { method })).toMatchObject({ status: 200 });
    }
    const get = () => fetch(`${strict.url}/mesh`, { headers: { 'idempotency-key': 'key' } });
    expect([(await get()).status, (await get()).status, strict.seen.runs]).toEqual([200, 200, 4]);
  });

  it('records the answer of a handler whose client has left, and a repeat meanwhile waits for it', async () => {
    const store = memoryIdempotencyStore();
    const { url, seen } = await service(() => sleep(300, { status: 201, body: 'late' }), { store });
    const leaving = new AbortController();
    const first = post(`${url}/mesh`, 'key', 'x', { signal: leaving.signal }).catch(() => 'left');
    await until('the handler runs', () => seen.runs === 1);
    leaving.abort();
    expect(await first).toBe('left');
    expect(await post(`${url}/mesh`, 'key', 'x')).toMatchObject({ status: 201, text: 'late', replayed: true });
    expect(seen).toMatchObject({ runs: 1, faults: [] });
  });

  it('holds answers back for a store that takes its time, however they are sent, and nothing is sent twice', async () => {
    const memory = memoryIdempotencyStore();
    const late = async <T>(value: T) => {
      await sleep(20);
      return value;
    };
    const store: IdempotencyStore = {
      begin: (...args) => late(memory.begin(...args)),
      renew: (...args) => late(memory.renew(...args)),
      finish: (...args) => late(memory.finish(...args)),
      release: (...args) => late(memory.release(...args)),
    };
    const answers: Readonly<Record<string, HandlerAnswer>> = {
      '/text': { status: 201, body: 'text' },
      '/none': { status: 204 },
      '/pieces': { body: ['one ', 'two'] },
      '/large': { body: ['x'.repeat(50_000), 'y'.repeat(50_000)] },
    };
    const { url, seen } = await service(({ request }) => answers[request.url] ?? Promise.reject(new Error('broken')), {
      store,
    });
    for (const [path, { status = 200, body = '' }] of Object.entries(answers)) {
      const text = typeof body === 'string' ? body : body.join('');
      const [first, ...repeats] = await Promise.all([0, 1, 2].map(() => post(url + path, 'key')));
      expect(first).toMatchObject({ status, text, replayed: false });
      for (const repeat of repeats) expect(repeat.status).toBe(path === '/large' ? 409 : status);
    }
    expect(await post(`${url}/broken`, 'key')).toMatchObject({ status: 500 });
    expect(await post(`${url}/broken`, 'key')).toMatchObject({ status: 500 });
    expect(seen).toMatchObject({ runs: 6, faults: [] });
  });
});
