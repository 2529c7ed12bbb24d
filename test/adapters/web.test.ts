import { once } from 'node:events';
import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Hono } from 'hono';
import { describe, expect, expectTypeOf, it, onTestFinished, vi } from 'vitest';
import { guard as honoGuard } from '../../src/adapters/hono.js';
import { createGuarded, exchangeOf, guarded, sendReply } from '../../src/adapters/web-handler.js';
import {
  authenticate,
  concurrency,
  type Exchange,
  type Guard,
  limit,
  memoryStore,
  OptionError,
  type Outcome,
  problem,
  processTime,
  type Reply,
  refuse,
  reportFaults,
  sharedSecret,
  webSocketOrigin,
} from '../../src/index.js';
import { idempotent, memoryIdempotencyStore } from '../../src/jobs/index.js';
import { turns } from '../contracts/adapter/stage.js';
import { Client } from '../raw-client.js';
import { serveWeb } from '../web-server.js';
import { marking, refusing } from './two-guards.js';

const collectGarbage: () => void = (() => {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc');
})();

const URL_ = 'https://api.example/things/1?a=%20b';
const SECRET = 'web-adapter-test-secret-0123456789-abcdef';

function recorded() {
  const outcomes: Outcome[] = [];
  const exchanges: Exchange[] = [];
  const faults: unknown[] = [];
  const watch: Guard = (exchange) => {
    exchange.faultReporter = (error) => faults.push(error);
    exchanges.push(exchange);
    exchange.onEnd((outcome) => outcomes.push(outcome));
    return undefined;
  };
  return { watch, outcomes, exchanges, faults };
}

/** A body whose chunks the test sends. */
function openBody() {
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  const cancelled: unknown[] = [];
  const body = new ReadableStream<Uint8Array>({
    start: (given) => {
      controller = given;
    },
    cancel: (reason) => void cancelled.push(reason),
  });
  return {
    body,
    cancelled,
    send: (text: string) => controller?.enqueue(new TextEncoder().encode(text)),
    end: () => controller?.close(),
    fail: (error: unknown) => controller?.error(error),
  };
}

const completed = (status: number): Outcome => ({ kind: 'completed', status });
const ABORTED: Outcome = { kind: 'aborted' };

describe('guarded', () => {
  it.each<[string, () => unknown, string]>([
    [
      'a handler',
      () => guarded(undefined as never, marking),
      'gatewarden: guarded takes a handler first, got undefined; write guarded(handler, authenticate(...))',
    ],
    ['a guard', () => guarded(() => new Response()), 'guarded needs at least one guard, such as guarded(handler,'],
    ['guards only', () => guarded(() => new Response(), [marking] as never), 'a guard must be a function, got a list'],
    ['an address', () => createGuarded({ address: '1.2.3.4' as never }), '"address" must be a function'],
    ['options', () => createGuarded({ adress: () => '' } as never), 'Did you mean "address"?'],
  ])('needs %s', (_what, act, message) => {
    expect(act).toThrow(OptionError);
    expect(act).toThrow(message);
  });

  it('rejects if a runtime calls it in place of the handler', async () => {
    expect(() => guarded(new Request(URL_) as never)).toThrow(OptionError);
  });

  it('passes everything on to the handler, and its response back', async () => {
    const handler = guarded(function (this: unknown, request: Request, ...args: readonly unknown[]) {
      return Response.json([request.url, args, this], { status: 201, statusText: 'Made', headers: { 'X-Own': 'yes' } });
    }, marking);
    const response = await Reflect.apply(handler, 'this', [new Request(URL_), { a: 1 }, 'two']);
    expect([response.status, response.statusText, await response.json()]).toEqual([
      201,
      'Made',
      [URL_, [{ a: 1 }, 'two'], 'this'],
    ]);
    expect(Object.fromEntries(response.headers)).toEqual({
      'content-type': 'application/json',
      vary: 'Origin',
      'x-guarded': 'yes',
      'x-own': 'yes',
    });
  });

  it('refuses in place of the handler', async () => {
    let called = 0;
    const handler = guarded(() => new Response(String(++called)), marking, refusing);
    const response = await handler(new Request(URL_));
    expect([response.status, await response.json(), called]).toEqual([401, { ...problem('credentials-missing') }, 0]);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'cache-control': 'no-store',
      'content-type': 'application/problem+json',
      'www-authenticate': 'Bearer',
      'x-guarded': 'yes',
    });
  });

  it('shows the exchange to the handler, and throws without guards', async () => {
    const { watch, exchanges } = recorded();
    const seen: unknown[] = [];
    await guarded((request: Request) => {
      seen.push(exchangeOf(request));
      return new Response();
    }, watch)(new Request(URL_));
    expect(seen).toEqual(exchanges);
    expect(() => exchangeOf(new Request(URL_))).toThrow('exchangeOf needs guarded(...) around the handler');
    expect(() => sendReply(new Request(URL_), refuse(problem('internal-error')))).toThrow(TypeError);
  });

  it('shares one exchange with guarded handlers and Hono inside it, which ends once', async () => {
    const { watch, outcomes, exchanges } = recorded();
    const app = new Hono();
    app.use(honoGuard(watch, marking));
    app.get('/things/:id', (context) => {
      exchanges.push(context.var.exchange);
      return context.text('ok', 202);
    });
    const response = await guarded(guarded(app.fetch, watch), watch)(new Request(URL_));
    expect([response.status, response.headers.get('x-guarded'), await response.text()]).toEqual([202, 'yes', 'ok']);
    expect(exchanges).toHaveLength(4);
    expect(new Set(exchanges).size).toBe(1);
    expect(outcomes).toEqual([completed(202), completed(202), completed(202)]);
  });

  it('runs an inner guard that refuses, and answers with it', async () => {
    const { watch, outcomes } = recorded();
    const inner = guarded(() => new Response('open'), refusing);
    const response = await guarded(inner, watch, marking)(new Request(URL_));
    expect([response.status, response.headers.get('x-guarded')]).toEqual([401, 'yes']);
    expect(outcomes).toEqual([{ kind: 'refused', status: 401, code: 'credentials-missing' }]);
  });

  it.each(['throws', 'rejects'])('passes on what a handler that %s has thrown, and ends the exchange', async (how) => {
    const { watch, outcomes } = recorded();
    const error = new Error('thrown');
    const handler = guarded((): Response | Promise<Response> => {
      if (how === 'throws') throw error;
      return Promise.reject(error);
    }, watch);
    await expect(handler(new Request(URL_))).rejects.toBe(error);
    expect(outcomes).toEqual([completed(500)]);
  });

  it('ends the exchange if the handler returns nothing, as Bun does after an upgrade', async () => {
    const { watch, outcomes } = recorded();
    expect(await guarded(() => undefined, watch)(new Request(URL_))).toBeUndefined();
    expect(outcomes).toEqual([completed(101)]);
  });

  it('answers a guard that sets a header which HTTP cannot carry with 500', async () => {
    const { watch, faults } = recorded();
    const bad: Guard = (exchange) => {
      exchange.set('X-Bad', 'a\r\nb');
      return undefined;
    };
    const response = await guarded(() => new Response('open'), watch, bad)(new Request(URL_));
    expect([response.status, faults.length]).toEqual([500, 1]);
  });

  it('never starts the handler for a client that has left', async () => {
    const { watch, outcomes } = recorded();
    const left = new AbortController();
    let called = 0;
    const leaving: Guard = async () => {
      left.abort();
      return undefined;
    };
    const handler = guarded(() => new Response(String(++called)), watch, leaving);
    for (let i = 0; i < 2; i++) await handler(new Request(URL_, { signal: left.signal }));
    expect([outcomes, called]).toEqual([[ABORTED], 0]);
  });

  it('refuses the handshake of a foreign page', async () => {
    const handler = guarded(() => new Response('upgraded'), webSocketOrigin());
    const headers = { Upgrade: 'websocket', Connection: 'Upgrade', Host: 'api.example' };
    for (const [origin, status] of [
      ['https://evil.example', 403],
      ['https://api.example', 200],
    ] as const) {
      // undici keeps `Host` only with its own requests.
      const request = new Request(URL_, { headers: { ...headers, Origin: origin } });
      expect([origin, (await handler(request)).status]).toEqual([origin, status]);
    }
  });

  it('keeps the types of the handler', () => {
    const handler = guarded(
      async (request: Request & { readonly own: string }, { params }: { readonly params: Promise<{ id: string }> }) =>
        Response.json([request.own, (await params).id]),
      marking,
    );
    expectTypeOf(handler).parameters.toEqualTypeOf<
      [Request & { readonly own: string }, { readonly params: Promise<{ id: string }> }]
    >();
    expectTypeOf(handler).returns.toEqualTypeOf<Promise<Response>>();
    const upgrading = guarded((_request: Request): Response | undefined => undefined, marking);
    expectTypeOf(upgrading).returns.toEqualTypeOf<Promise<Response | undefined>>();
    const custom = createGuarded({
      address: (request: Request & { readonly ip: string }, _server: { readonly port: number }) => request.ip,
    });
    expectTypeOf(custom(() => new Response(), marking)(new Request(URL_))).resolves.toExtend<Response>();
  });
});

describe('the response of guarded', () => {
  const BODIES: readonly (readonly [what: string, make: () => Response, text: string])[] = [
    ['a text', () => new Response('text'), 'text'],
    ['an empty text', () => new Response(''), ''],
    ['JSON', () => Response.json({ a: 1 }), '{"a":1}'],
    ['bytes', () => new Response(new TextEncoder().encode('bytes')), 'bytes'],
    ['parameters', () => new Response(new URLSearchParams({ a: '1' })), 'a=1'],
    ['nothing', () => new Response(null), ''],
    ['a redirect', () => Response.redirect('https://api.example/', 302), ''],
    ['a 204', () => new Response(null, { status: 204 }), ''],
    ['a 304', () => new Response(null, { status: 304, headers: { ETag: '"a"' } }), ''],
  ];
  it.each(BODIES)(
    'of %s is whole, has the headers of guards, and ends the exchange at once',
    async (_w, make, text) => {
      const { watch, outcomes } = recorded();
      const own = make();
      const response = await guarded(() => make(), watch, marking, processTime())(new Request(URL_));
      expect(outcomes).toEqual([completed(own.status)]);
      expect([response.status, response.headers.get('x-guarded'), response.headers.get('vary')]).toEqual([
        own.status,
        'yes',
        'Origin',
      ]);
      expect(response.headers.get('x-process-time')).toMatch(/^\d/);
      for (const [name, value] of own.headers) expect(response.headers.get(name)).toBe(value);
      expect(await response.text()).toBe(text);
      expect(response.body === null).toBe(own.body === null);
    },
  );

  it('of a blob ends the exchange when it has been read at the latest', async () => {
    const { watch, outcomes } = recorded();
    const response = await guarded(() => new Response(new Blob(['blob'])), watch, marking)(new Request(URL_));
    expect([await response.text(), response.headers.get('x-guarded'), outcomes]).toEqual([
      'blob',
      'yes',
      [completed(200)],
    ]);
  });

  it('has its last headers before the exchange ends', async () => {
    const order: string[] = [];
    const hooks: Guard = (exchange) => {
      exchange.onEnd(() => order.push(`end ${exchange.get('x-last')}`));
      exchange.onHead(() => {
        order.push('head');
        exchange.set('X-Last', 'set');
      });
      return undefined;
    };
    const response = await guarded(() => new Response('whole'), hooks)(new Request(URL_));
    expect([order, response.headers.get('x-last')]).toEqual([['head', 'end set'], 'set']);
  });

  it('of an error stays one', async () => {
    const { watch, outcomes } = recorded();
    const response = await guarded(() => Response.error(), watch)(new Request(URL_));
    expect([response.type, outcomes]).toEqual(['error', [completed(0)]]);
  });

  it('keeps several cookies', async () => {
    const headers = new Headers([
      ['Set-Cookie', 'a=1'],
      ['Set-Cookie', 'b=2'],
    ]);
    for (const make of [() => new Response('x', { headers }), () => new Response(openBody().body, { headers })]) {
      const response = await guarded(make, marking)(new Request(URL_));
      expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
    }
  });

  it('with immutable headers gets those of guards', async () => {
    const handler = guarded(() => fetch('data:text/plain,hello'), marking);
    const response = await handler(new Request(URL_));
    expect([response.headers.get('x-guarded'), await response.text()]).toEqual(['yes', 'hello']);
  });

  it('whose body was used is passed on, for the runtime to refuse it', async () => {
    const { watch, outcomes } = recorded();
    const used = new Response('used');
    await used.text();
    const response = await guarded(() => used, watch)(new Request(URL_));
    expect([response.bodyUsed, outcomes]).toEqual([true, [completed(200)]]);
    const locked = new Response('locked');
    locked.body?.getReader();
    expect((await guarded(() => locked, watch)(new Request(URL_))).body?.locked).toBe(true);
  });

  it('to HEAD ends the exchange at once, whether the runtime reads it or not', async () => {
    const { watch, outcomes } = recorded();
    const head = new Request(URL_, { method: 'HEAD' });
    await guarded(() => new Response(openBody().body), watch)(head);
    expect(outcomes).toEqual([completed(200)]);
  });

  it('that streams ends the exchange when the runtime has read all of it', async () => {
    const { watch, outcomes } = recorded();
    const { body, send, end } = openBody();
    const headers = { 'Content-Type': 'text/plain', 'Content-Length': '6' };
    const response = await guarded(() => new Response(body, { status: 206, headers }), watch)(new Request(URL_));
    expect([response.status, response.headers.get('content-length')]).toEqual([206, '6']);
    const reader = response.body?.getReader();
    send('one');
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe('one');
    send('two');
    end();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe('two');
    expect(outcomes).toEqual([]);
    expect((await reader?.read())?.done).toBe(true);
    expect(outcomes).toEqual([completed(206)]);
  });

  it('that streams is read only as fast as the runtime reads', async () => {
    let pulled = 0;
    const body = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          await nextTurn();
          pulled++;
          controller.enqueue(new Uint8Array(10));
        },
      },
      { highWaterMark: 0 },
    );
    const response = await guarded(() => new Response(body), marking)(new Request(URL_));
    await turns();
    expect(pulled).toBe(1);
    await response.body?.cancel();
  });

  it('that fails aborts the exchange, and the runtime sees the error', async () => {
    const { watch, outcomes, exchanges, faults } = recorded();
    const { body, send, fail } = openBody();
    const response = await guarded(() => new Response(body), watch)(new Request(URL_));
    const { signal } = exchanges[0] as Exchange;
    send('one');
    const error = new Error('the disk is gone');
    const text = response.text();
    fail(error);
    await expect(text).rejects.toBe(error);
    await turns();
    expect([outcomes, signal.aborted, faults]).toEqual([[ABORTED], true, []]);
  });

  it('that the runtime cancels aborts the exchange, and is cancelled', async () => {
    const { watch, outcomes } = recorded();
    const { body, cancelled } = openBody();
    const response = await guarded(() => new Response(body), watch)(new Request(URL_));
    await response.body?.cancel('gone');
    expect([outcomes, cancelled.length]).toEqual([[ABORTED], 1]);
  });

  it('of a guard that the runtime cancels while it waits for more is no fault', async () => {
    const { watch, outcomes, faults } = recorded();
    const source = new Readable({ read: () => undefined });
    const streaming: Guard = () => ({ status: 200, headers: [], problem: undefined, stream: () => source });
    const response = await guarded(() => new Response('open'), watch, streaming)(new Request(URL_));
    const reader = response.body?.getReader();
    const reading = reader?.read();
    await turns();
    await reader?.cancel();
    await reading;
    await vi.waitFor(() => expect(source.closed).toBe(true));
    await turns();
    expect([outcomes, faults]).toEqual([[ABORTED], []]);
  });

  it('is cancelled if the signal of the request is aborted, whether the runtime cancels it or not', async () => {
    const { watch, outcomes } = recorded();
    const { body, cancelled } = openBody();
    const left = new AbortController();
    const response = await guarded(() => new Response(body), watch)(new Request(URL_, { signal: left.signal }));
    left.abort();
    await turns();
    expect([outcomes, cancelled.length]).toEqual([[ABORTED], 1]);
    expect(await response.text()).toBe('');
    expect(outcomes).toHaveLength(1);
  });

  it('that is thrown away ends the exchange when the garbage is collected', async () => {
    const { watch, outcomes } = recorded();
    const handler = guarded(() => new Response(openBody().body), watch);
    for (let i = 0; i < 20; i++) await handler(new Request(URL_));
    for (let i = 0; i < 100 && outcomes.length < 20; i++) {
      await nextTurn();
      collectGarbage();
    }
    expect(outcomes).toEqual(Array(20).fill(ABORTED));
  });

  it('is not taken for thrown away while it is read slowly', async () => {
    const { watch, outcomes } = recorded();
    const { body, send, end } = openBody();
    let response: Response | undefined = await guarded(() => new Response(body), watch)(new Request(URL_));
    const reader = response.body?.getReader();
    response = undefined;
    for (let i = 0; i < 20; i++) {
      await nextTurn();
      collectGarbage();
      send(String(i));
      expect((await reader?.read())?.done).toBe(false);
    }
    expect(outcomes).toEqual([]);
    end();
    await reader?.read();
    expect(outcomes).toEqual([completed(200)]);
  });

  it('holds a slot of concurrency until its body has been read', async () => {
    const guard = limit({ store: memoryStore(), policies: concurrency({ limit: 1, by: 'global' }) });
    const bodies = [openBody(), openBody()];
    let count = 0;
    const handler = guarded(() => new Response(bodies[count++]?.body), guard);
    const first = await handler(new Request(URL_));
    expect((await handler(new Request(URL_))).status).toBe(503);
    bodies[0]?.send('one');
    bodies[0]?.end();
    expect(await first.text()).toBe('one');
    await turns();
    const second = await handler(new Request(URL_));
    expect(second.status).toBe(200);
    await second.body?.cancel();
  });

  it('is remembered by idempotent, whole', async () => {
    let runs = 0;
    const handler = guarded(
      async (request: Request) => Response.json({ runs: ++runs, got: await request.json() }),
      authenticate(sharedSecret({ secrets: [SECRET] })),
      idempotent({ store: memoryIdempotencyStore() }),
    );
    const ask = async () => {
      const response = await handler(
        new Request(URL_, {
          method: 'POST',
          body: '{"a":1}',
          headers: { 'Idempotency-Key': 'k-1234567890', Authorization: `Bearer ${SECRET}` },
        }),
      );
      return [response.status, await response.json()];
    };
    expect(await ask()).toEqual([200, { runs: 1, got: { a: 1 } }]);
    expect(await ask()).toEqual([200, { runs: 1, got: { a: 1 } }]);
  });
});

describe('sendReply', () => {
  it('sends a reply from a handler, with its headers and those of guards', async () => {
    const { watch, outcomes } = recorded();
    const reply: Reply = { status: 202, headers: [['Location', '/jobs/1']], problem: undefined, body: { id: 1 } };
    const response = await guarded((request) => sendReply(request, reply), watch, marking)(new Request(URL_));
    expect([response.status, response.headers.get('location'), response.headers.get('x-guarded')]).toEqual([
      202,
      '/jobs/1',
      'yes',
    ]);
    expect([await response.json(), outcomes]).toEqual([{ id: 1 }, [completed(202)]]);
  });

  it('sends a stream, and ends the exchange with it', async () => {
    const { watch, outcomes } = recorded();
    const source = new Readable({ read: () => undefined });
    const reply: Reply = { status: 200, headers: [], problem: undefined, stream: () => source };
    const response = await guarded((request) => sendReply(request, reply), watch)(new Request(URL_));
    source.push('abc');
    source.push(null);
    expect(outcomes).toEqual([]);
    expect([await response.text(), outcomes]).toEqual(['abc', [completed(200)]]);
  });
});

describe('the request of guarded', () => {
  const look = async (
    handler: (guard: Guard) => (request: Request, ...args: never[]) => Promise<Response>,
    request: Request,
    ...args: readonly unknown[]
  ) => {
    let seen: Exchange['request'] | undefined;
    await handler((exchange) => {
      seen = exchange.request;
      return undefined;
    })(request, ...(args as never[]));
    return seen;
  };
  const plain = (guard: Guard) => guarded(() => new Response(), guard);

  const CONTEXTS: readonly (readonly [runtime: string, request: Request, args: readonly unknown[], ip: unknown])[] = [
    [
      'Bun',
      new Request(URL_),
      [{ requestIP: (request: Request) => (request.url === URL_ ? { address: '192.0.2.1', port: 1 } : null) }],
      '192.0.2.1',
    ],
    ['Bun, on a Unix socket', new Request(URL_), [{ requestIP: () => null }], undefined],
    ['Deno', new Request(URL_), [{ remoteAddr: { transport: 'tcp', hostname: '192.0.2.2', port: 1 } }], '192.0.2.2'],
    ['Deno, on a Unix socket', new Request(URL_), [{ remoteAddr: { transport: 'unix', path: '/a' } }], undefined],
    [
      "Hono's server on Node",
      new Request(URL_),
      [{ incoming: { socket: { remoteAddress: '192.0.2.3' } } }],
      '192.0.2.3',
    ],
    [
      'Cloudflare',
      Object.defineProperty(new Request(URL_, { headers: { 'CF-Connecting-IP': '192.0.2.4' } }), 'cf', {
        value: { colo: 'FRA' },
      }),
      [{ KEY: 'secret' }, {}],
      '192.0.2.4',
    ],
  ];
  it.each(CONTEXTS)('has the address of the client on %s', async (_runtime, request, args, ip) => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    onTestFinished(() => warn.mockRestore());
    expect((await look(plain, request, ...args))?.remoteAddress).toBe(ip);
    expect(warn).not.toHaveBeenCalled();
  });

  it('has no address that a client sends, and a warning says so once', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    onTestFinished(() => warn.mockRestore());
    const headers = { 'CF-Connecting-IP': '6.6.6.6', 'X-Forwarded-For': '6.6.6.6', Forwarded: 'for=6.6.6.6' };
    for (const args of [[], [undefined], [{}], [{ KEY: 'value' }], [{ remoteAddr: '6.6.6.6' }], [null, 1]]) {
      expect((await look(plain, new Request(URL_, { headers }), ...args))?.remoteAddress).toBeUndefined();
    }
    expect(warn.mock.calls).toEqual([
      [
        'guarded finds no client addresses on this runtime and treats all clients as one; ' +
          'use createGuarded({ address })',
        { code: 'GATEWARDEN_NO_ADDRESS' },
      ],
    ]);
  });

  it('has the address, the parameters and the route that the service names', async () => {
    const custom = createGuarded({
      address: (request: Request) => request.headers.get('x-real-ip') ?? undefined,
      params: async () => ({ id: 'a/b' }),
      routePattern: () => '/things/:id',
    });
    const seen = await look(
      (guard) => custom(() => new Response(), guard),
      new Request(URL_, { headers: { 'X-Real-IP': '192.0.2.5' } }),
    );
    expect([seen?.remoteAddress, seen?.param?.('id'), seen?.routePattern]).toEqual(['192.0.2.5', 'a/b', '/things/:id']);
  });

  it.each<[string, Request, readonly unknown[]]>([
    ['Next.js', new Request(URL_), [{ params: Promise.resolve({ id: '1', list: ['a'] }) }]],
    ['Next.js 14', new Request(URL_), [{ params: { id: '1' } }]],
    ['Bun', Object.assign(new Request(URL_), { params: { id: '1' } }), [{ requestIP: () => null }]],
  ])('has the parameters of the route of %s, and no inherited ones', async (_what, request, args) => {
    const seen = await look(plain, request, ...args);
    expect(['id', 'list', 'none', '__proto__', 'constructor', ''].map((name) => seen?.param?.(name))).toEqual([
      '1',
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('shows method, target, lines of headers and TLS', async () => {
    const request = new Request(URL_, {
      method: 'PUT',
      headers: [
        ['X-Two', 'a'],
        ['X-Two', 'b'],
      ],
    });
    const seen = await look(plain, request);
    expect([seen?.method, seen?.url, seen?.fieldLines('x-two'), seen?.encrypted, seen?.routePattern]).toEqual([
      'PUT',
      '/things/1?a=%20b',
      ['a, b'],
      true,
      undefined,
    ]);
  });

  it('reports faults of a parameter that fails, and calls no handler', async () => {
    let called = 0;
    const handler = guarded(
      () => new Response(String(++called)),
      reportFaults(() => undefined),
    );
    const params = Promise.reject(new Error('no parameters'));
    await expect(Reflect.apply(handler, undefined, [new Request(URL_), { params }])).rejects.toThrow('no parameters');
    expect(called).toBe(0);
  });
});

it('a client that leaves a stream ends its exchange, over a socket', async () => {
  const { watch, outcomes } = recorded();
  const { body, send, cancelled } = openBody();
  const { port, close } = await serveWeb(guarded(() => new Response(body), watch));
  onTestFinished(close);
  const client = await Client.connect(port);
  client.send('GET /');
  send('one');
  await once(client.socket, 'data');
  expect(outcomes).toEqual([]);
  client.socket.destroy();
  await expect.poll(() => outcomes).toEqual([ABORTED]);
  expect(cancelled).toHaveLength(1);
});

it('the stream of a response to HEAD is cancelled, and the response keeps its headers', async () => {
  const { watch, outcomes } = recorded();
  const { body, cancelled } = openBody();
  const headers = { 'Content-Length': '7', 'Content-Type': 'text/plain' };
  const handler = guarded(() => new Response(body, { status: 206, headers }), watch, marking);
  const response = await handler(new Request(URL_, { method: 'HEAD' }));
  expect([cancelled.length, outcomes]).toEqual([1, [completed(206)]]);
  // Without a body, a runtime would send a length of 0.
  expect(response.body).not.toBeNull();
  expect([response.status, response.bodyUsed, Object.fromEntries(response.headers)]).toEqual([
    206,
    false,
    { 'content-length': '7', 'content-type': 'text/plain', vary: 'Origin', 'x-guarded': 'yes' },
  ]);
});

it('a response to HEAD whose body is in memory keeps it, so that the runtime knows its length', async () => {
  const handler = guarded(() => Response.json({ a: 1 }), marking);
  const response = await handler(new Request(URL_, { method: 'HEAD' }));
  expect(await response.text()).toBe('{"a":1}');
});

it('a response whose headers cannot be set, and that has no copy, is passed on as it is', async () => {
  const response = await guarded(() => Response.error(), marking)(new Request(URL_));
  expect(response.type).toBe('error');
});

it('the headers of a handler win over those of guards, and Vary has both', async () => {
  const headers = { 'X-Guarded': 'by the handler', Vary: 'Accept' };
  const response = await guarded(() => new Response('x', { headers }), marking)(new Request(URL_));
  expect([response.headers.get('x-guarded'), response.headers.get('vary')?.split(', ').sort()]).toEqual([
    'by the handler',
    ['Accept', 'Origin'],
  ]);
});

it('webSocketOrigin compares with the host of the URL if there is no Host', async () => {
  const handler = guarded(() => new Response('upgraded'), webSocketOrigin());
  for (const [origin, status] of [
    ['https://evil.example', 403],
    ['https://api.example', 200],
  ] as const) {
    const request = new Request(URL_, { headers: { Upgrade: 'websocket', Origin: origin } });
    expect([origin, (await handler(request)).status]).toEqual([origin, status]);
  }
});

it('the stream of a guard that fails is a fault, and aborts the exchange', async () => {
  const { watch, outcomes, faults } = recorded();
  const error = new Error('the disk is gone');
  const source = new Readable({ read: () => void source.destroy(error) });
  const streaming: Guard = () => ({ status: 200, headers: [], problem: undefined, stream: () => source });
  const response = await guarded(() => new Response('open'), watch, streaming)(new Request(URL_));
  await expect(response.text()).rejects.toBe(error);
  expect([outcomes, faults]).toEqual([[ABORTED], [error]]);
});

it('a response that idempotent remembers has no length, so that it ends when it is remembered', async () => {
  const handler = guarded(
    () => new Response('abc', { headers: { 'Content-Length': '3' } }),
    authenticate(sharedSecret({ secrets: [SECRET] })),
    idempotent({ store: memoryIdempotencyStore() }),
  );
  const headers = { 'Idempotency-Key': 'k-1234567890', Authorization: `Bearer ${SECRET}` };
  const response = await handler(new Request(URL_, { method: 'POST', headers }));
  expect([response.headers.get('content-length'), await response.text()]).toEqual([null, 'abc']);
});
