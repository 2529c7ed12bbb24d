import { EventEmitter, once } from 'node:events';
import { type IncomingMessage, type ServerResponse, request as sendRequest } from 'node:http';
import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import {
  type Exchange,
  type Guard,
  type Outcome,
  problem,
  type Reply,
  refuse,
  reportFaults,
  securityHeaders,
  sequence,
} from '../../src/index.js';
import { type Answer, Client, requestText } from '../raw-client.js';

/** What one `guard(...)` call each is to be given. */
export type GuardGroups = readonly (readonly Guard[])[];

/** What a handler does, in no framework's words. */
export type Handler =
  /** Answers with JSON in the framework's own way, once what `after` promises has come true. */
  | {
      readonly does: 'answer';
      readonly status: number;
      readonly body: unknown;
      readonly headers?: Readonly<Record<string, string>>;
      readonly after?: () => Promise<unknown>;
    }
  /** Throws before it returns. */
  | { readonly does: 'throw'; readonly error: Error }
  /** Returns a promise that rejects. */
  | { readonly does: 'reject'; readonly error: Error }
  /** Does as it likes with node's own two objects; the framework is told to keep out. */
  | { readonly does: 'write'; readonly write: (request: IncomingMessage, response: ServerResponse) => void };

export interface Route {
  readonly method: 'GET' | 'POST' | 'OPTIONS';
  readonly path: string;
  readonly guards: GuardGroups;
  readonly handler: Handler;
}

/** A small service, to be built as any user of the framework would build it. */
export interface Service {
  /** App-wide, in front of everything, unknown paths included. */
  readonly guards: GuardGroups;
  readonly routes: readonly Route[];
  /** A sub-router under a path prefix, with guards of its own. */
  readonly mount?: { readonly path: string; readonly guards: GuardGroups; readonly routes: readonly Route[] };
  /** A middleware in front of the guards: `proceed` lets the request go on to them, `answer` answers it with 503. */
  readonly before?: (proceed: () => void, answer: () => void, socket: Socket) => void;
  /** Each handler calls it first, with the exchange as handlers of the framework read it. */
  readonly entered: (exchange: Exchange) => void;
}

export interface Serving {
  readonly port: number;
  /** Stops listening and closes every connection. */
  close(): Promise<void>;
}

/** The translation of a service into one framework, on 127.0.0.1, any port. */
export type Serve = (service: Service) => Promise<Serving>;

const BIG = 64 * 1024 * 1024;
const OK: Handler = { does: 'answer', status: 200, body: { ok: true } };
const NEVER: Handler = { does: 'write', write: () => undefined };
const ABORTED: Outcome = { kind: 'aborted' };
const completed = (status: number): Outcome => ({ kind: 'completed', status });
const UNAUTHORIZED: Outcome = { kind: 'refused', status: 401, code: 'credentials-missing' };
const FAULT: Outcome = { kind: 'refused', status: 500, code: 'internal-error' };

const refusing = (): Reply => refuse(problem('credentials-missing'), [['WWW-Authenticate', 'Bearer']]);
const get = (handler: Handler, ...guards: GuardGroups): Route => ({ method: 'GET', path: '/', guards, handler });

/** A handler that answers a body of 64 MB in one call. */
function big(): Handler {
  return {
    does: 'write',
    write: (_request, response) => {
      response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': BIG });
      response.end(Buffer.alloc(BIG));
    },
  };
}

/** A handler that writes its head by hand and streams: one line at once, the other after `rest`. */
function streaming(rest: () => Promise<unknown>, headers: Record<string, string> = {}): Handler {
  return {
    does: 'write',
    write: (_request, response) => {
      response.writeHead(200, { 'Content-Type': 'text/plain', ...headers });
      response.write('one\n');
      void rest().then(() => response.end('two\n'));
    },
  };
}

interface Entry {
  readonly exchange: Exchange;
  readonly signal: AbortSignal;
  readonly outcomes: Outcome[];
}

/** One test's service, its clients, and the account of every exchange. */
class Stage {
  /** Every exchange in order of arrival, and all that its settled hook was told. */
  readonly entries: Entry[] = [];
  readonly faults: unknown[] = [];
  /** The exchanges with which a handler began. */
  readonly entered: Exchange[] = [];
  /** The guards that keep the account; they also set `X-Guarded`. */
  readonly watch: readonly Guard[];
  readonly #serve: Serve;
  readonly #events = new EventEmitter();
  readonly #clients: Client[] = [];
  #settled = 0;
  #serving: Serving | undefined;

  constructor(serve: Serve) {
    this.#serve = serve;
    this.watch = [
      reportFaults((error) => this.faults.push(error)),
      (exchange) => {
        const entry: Entry = { exchange, signal: exchange.signal, outcomes: [] };
        this.entries.push(entry);
        exchange.set('X-Guarded', 'yes');
        exchange.onEnd((outcome) => {
          entry.outcomes.push(outcome);
          this.#settled++;
          this.#events.emit('settled');
        });
        return undefined;
      },
    ];
  }

  get port(): number {
    if (this.#serving === undefined) throw new Error('nothing is served yet');
    return this.#serving.port;
  }

  /** Serves the routes, with the accounting guards app-wide unless `service` says otherwise. */
  async serve(routes: readonly Route[], service: Partial<Service> = {}): Promise<void> {
    this.#serving = await this.#serve({
      guards: [this.watch],
      routes,
      entered: (exchange) => {
        this.entered.push(exchange);
        this.#events.emit('entered');
      },
      ...service,
    });
  }

  async connect(): Promise<Client> {
    const client = await Client.connect(this.port);
    this.#clients.push(client);
    return client;
  }

  /** One request on a connection of its own. */
  async ask(line: string, ...fields: readonly string[]): Promise<Answer> {
    const client = await this.connect();
    client.send(line, ...fields);
    return client.answer(line.startsWith('HEAD '));
  }

  async handlers(count: number): Promise<void> {
    while (this.entered.length < count) await once(this.#events, 'entered');
  }

  /** The outcomes in order of arrival, once `count` exchanges have settled. */
  async outcomes(count: number): Promise<Outcome[]> {
    while (this.#settled < count) await once(this.#events, 'settled');
    return this.entries.flatMap((entry) => entry.outcomes);
  }

  /** Asserts what holds for every exchange once all is over: one outcome each, and a signal that agrees with it. */
  check(): void {
    expect(this.entries.length).toBeGreaterThan(0);
    for (const { exchange, signal, outcomes } of this.entries) {
      expect(outcomes).toHaveLength(1);
      expect(exchange.outcome).toEqual(outcomes[0]);
      expect(signal.aborted).toBe(outcomes[0]?.kind === 'aborted');
      expect(exchange.signal).toBe(signal);
    }
    const known = new Set(this.entries.map((entry) => entry.exchange));
    expect(known.size).toBe(this.entries.length);
    for (const exchange of this.entered) expect(known).toContain(exchange);
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.socket.destroy();
    await this.#serving?.close();
    await turns();
  }
}

/** The ways in which a client that is still owed an answer can go. */
const LEAVINGS: readonly (readonly [name: string, leave: (socket: Socket) => void])[] = [
  ['closes', (socket) => socket.destroy()],
  ['resets the connection', (socket) => socket.resetAndDestroy()],
];

/** The ways in which a connection can end after an answer; the answer itself is the same. */
const CONNECTIONS: readonly (readonly [name: string, version: string, fields: readonly string[], closes: boolean])[] = [
  ['a kept connection', 'HTTP/1.1', [], false],
  ['Connection: close', 'HTTP/1.1', ['Connection: close'], true],
  ['HTTP/1.0', 'HTTP/1.0', [], true],
];

/** What a JavaScript guard may answer with although it is no reply. */
const GARBAGE: readonly (readonly [name: string, value: unknown])[] = [
  ['null', null],
  ['true', true],
  ['false', false],
  ['zero', 0],
  ['a string', 'ok'],
  ['a list', []],
  ['an empty object', {}],
  ['a status that is no number', { status: '401', headers: [], problem: undefined }],
  ['a status that HTTP does not have', { status: 42, headers: [], problem: undefined }],
  ['a reply without headers', { status: 401 }],
  ['headers that are no pairs', { status: 401, headers: ['x'], problem: undefined }],
  ['a header value with a line break', { status: 401, headers: [['X-Bad', 'a\r\nX-Injected: b']], problem: undefined }],
  ['a header value beyond Latin-1', { status: 401, headers: [['X-Bad', '\u{1F512}']], problem: undefined }],
  ['a header name with a space', { status: 401, headers: [['X Bad', 'a']], problem: undefined }],
];

/** What a guard may throw; for some routers `undefined` and `'route'` mean "go on". */
const THROWN: readonly unknown[] = [new Error('broken'), undefined, null, 'route', 'router', { status: 200 }];

/** Reported as a fault where it should not have run at all. */
const unexpected = throwing(new Error('a later guard ran'));

/** What may stand behind a guard. */
const BEHIND: readonly (readonly [place: string, groups: (guard: Guard) => GuardGroups])[] = [
  ['the handler', (guard) => [[guard]]],
  ['a guard of the same call', (guard) => [[guard, unexpected]]],
  ['a guard of another call', (guard) => [[guard], [unexpected]]],
];

/** Every kind of answer, with its status and its outcome. */
const ANSWERS: readonly (readonly [name: string, route: Route, status: number, outcome: Outcome])[] = [
  ['a 200', get(OK), 200, completed(200)],
  ['a 201 later on', get({ does: 'answer', status: 201, body: 1, after: turns }), 201, completed(201)],
  ["a handler's own 500", get({ does: 'answer', status: 500, body: {} }), 500, completed(500)],
  ['a handler that throws', get({ does: 'throw', error: new Error('thrown') }), 500, completed(500)],
  ['a handler that rejects', get({ does: 'reject', error: new Error('rejected') }), 500, completed(500)],
  ['a head written by hand and a stream', get(streaming(turns)), 200, completed(200)],
  ['an unknown path', { ...get(OK), path: '/elsewhere' }, 404, completed(404)],
  ['a refusal', get(OK, [refusing]), 401, UNAUTHORIZED],
  ['a refusal that took time', get(OK, [() => nextTurn().then(() => refusing())]), 401, UNAUTHORIZED],
  [
    'a reply without a body',
    get(OK, [() => ({ status: 204, headers: [], problem: undefined })]),
    204,
    { kind: 'refused', status: 204, code: undefined },
  ],
  ['a guard that throws', get(OK, [throwing(new Error('broken'))]), 500, FAULT],
];

function throwing(error: unknown): Guard {
  return () => {
    throw error;
  };
}

/** As JavaScript callers can: a guard that answers with anything. */
function answering(value: unknown): Guard {
  return () => value as Reply;
}

interface Gate {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
}

/** A promise that the test fulfils. */
function gate(): Gate {
  let open: (() => void) | undefined;
  const promise = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { promise, resolve: () => open?.() };
}

/** Time for whatever would wrongly happen once more. */
async function turns(): Promise<void> {
  for (let i = 0; i < 8; i++) await nextTurn();
}

/** A full collection; Node offers it only by a flag. */
const collectGarbage: () => void = (() => {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc');
})();

/** Everything that listens to `socket`, by event. */
function listeners(socket: Socket): Record<string, number> {
  return Object.fromEntries(socket.eventNames().map((name) => [String(name), socket.listenerCount(name)]));
}

/**
 * What every adapter promises, over real sockets: how an exchange ends, that it ends once, and that nothing gets past
 * a guard.
 */
export function adapterContract(name: string, serve: Serve): void {
  /** A test on a stage of its own; afterwards every exchange must have ended once, before and after the server closed. */
  function promise(text: string, act: (stage: Stage) => Promise<void>): void {
    it(text, async () => {
      const stage = new Stage(serve);
      try {
        await act(stage);
        await turns();
        stage.check();
      } finally {
        await stage.close();
      }
      stage.check();
    }, 20_000);
  }

  describe(`the ${name} adapter`, () => {
    describe.each(CONNECTIONS)('over %s', (_name, version, fields, closes) => {
      for (const [kind, route, status, outcome] of ANSWERS) {
        promise(`settles ${kind} once, with the headers that guards have set`, async (stage) => {
          await stage.serve([route]);
          const client = await stage.connect();
          client.send(`GET / ${version}`, ...fields);
          const answer = await client.answer();
          expect(answer.status).toBe(status);
          expect(answer.field('x-guarded')).toBe('yes');
          if (closes) expect(await client.rest()).toBe('');
          expect(await stage.outcomes(1)).toEqual([outcome]);
        });
      }
    });

    describe('where the first guard stands on the route', () => {
      for (const [kind, route, status, outcome] of ANSWERS) {
        if (route.path !== '/') continue;
        promise(`settles ${kind} once`, async (stage) => {
          await stage.serve([{ ...route, guards: [stage.watch, ...route.guards] }], { guards: [] });
          const answer = await stage.ask('GET /');
          expect(answer.status).toBe(status);
          expect(answer.field('x-guarded')).toBe('yes');
          expect(await stage.outcomes(1)).toEqual([outcome]);
        });
      }
    });

    describe('a refusal', () => {
      promise('goes out as a problem, and the handler never runs', async (stage) => {
        const later: string[] = [];
        const after: Guard = () => {
          later.push('guard');
          return undefined;
        };
        await stage.serve([get(OK, [refusing, after], [after])]);
        const answer = await stage.ask('GET /');
        expect(answer.status).toBe(401);
        expect(answer.field('content-type')).toBe('application/problem+json');
        expect(answer.field('cache-control')).toBe('no-store');
        expect(answer.field('www-authenticate')).toBe('Bearer');
        expect(answer.field('content-length')).toBe(String(answer.body.length));
        expect(answer.json()).toEqual({ ...problem('credentials-missing') });
        expect(await stage.outcomes(1)).toEqual([UNAUTHORIZED]);
        expect(stage.entered).toEqual([]);
        expect(later).toEqual([]);
      });

      promise('of a HEAD request has the fields of the GET and no body', async (stage) => {
        await stage.serve([get(OK, [refusing])]);
        const toGet = await stage.ask('GET /');
        const client = await stage.connect();
        client.send('HEAD /', 'Connection: close');
        const toHead = await client.answer(true);
        expect(await client.rest()).toBe('');
        expect(toHead.status).toBe(401);
        for (const field of ['content-length', 'content-type', 'cache-control', 'www-authenticate', 'x-guarded']) {
          expect(toHead.field(field)).toBe(toGet.field(field));
          expect(toHead.field(field)).toBeDefined();
        }
        expect(await stage.outcomes(2)).toEqual([UNAUTHORIZED, UNAUTHORIZED]);
        expect(stage.entered).toEqual([]);
      });

      promise('does not wait for the body of the request', async (stage) => {
        await stage.serve([{ method: 'POST', path: '/', guards: [[refusing]], handler: OK }]);
        const answer = await stage.ask('POST /', 'Content-Length: 1000000');
        expect(answer.status).toBe(401);
        expect(await stage.outcomes(1)).toEqual([UNAUTHORIZED]);
        expect(stage.entered).toEqual([]);
      });

      promise('also holds in front of a path that does not exist', async (stage) => {
        await stage.serve([], { guards: [stage.watch, [refusing]] });
        expect((await stage.ask('GET /nowhere')).status).toBe(401);
        expect(await stage.outcomes(1)).toEqual([UNAUTHORIZED]);
      });
    });

    describe('the headers of a handler', () => {
      const setting: Guard = (exchange) => {
        exchange.set('X-Both', 'guard');
        exchange.set('X-Guard', 'guard');
        return undefined;
      };
      const own = { 'x-both': 'handler' };

      promise("win over a guard's where the framework writes them", async (stage) => {
        await stage.serve([get({ does: 'answer', status: 200, body: {}, headers: own }, [setting])]);
        const answer = await stage.ask('GET /');
        expect([answer.field('x-both'), answer.field('x-guard')]).toEqual(['handler', 'guard']);
        await stage.outcomes(1);
      });

      promise("win over a guard's where the head is written by hand", async (stage) => {
        await stage.serve([get(streaming(turns, own), [setting])]);
        const answer = await stage.ask('GET /');
        expect([answer.field('x-both'), answer.field('x-guard')]).toEqual(['handler', 'guard']);
        expect(answer.body.toString()).toBe('one\ntwo\n');
        await stage.outcomes(1);
      });
    });

    promise('a client that resets its connection at once runs no guard without an address', async (stage) => {
      const seen: (string | undefined)[] = [];
      const look: Guard = ({ request }) => {
        seen.push(request.remoteAddress);
        return undefined;
      };
      await stage.serve([get(OK, [look])]);
      for (let i = 0; i < 10; i++) {
        const client = await stage.connect();
        await new Promise((sent) => client.socket.write(requestText('GET /'), sent));
        client.socket.resetAndDestroy();
        await new Promise((turn) => setTimeout(turn, 10));
      }
      const client = await stage.connect();
      client.send('GET /');
      expect((await client.answer()).status).toBe(200);
      expect([...new Set(seen)]).toEqual(['127.0.0.1']);
    });

    promise('a later guard takes back a header that an earlier one has set', async (stage) => {
      const page = securityHeaders({ xFrameOptions: 'SAMEORIGIN', contentSecurityPolicy: false });
      const [first, ...more] = [securityHeaders(), page];
      await stage.serve([
        get(OK, [first], more),
        { ...get(OK, [first], [...more, refusing]), path: '/refused' },
        { ...get(OK, [first, ...more]), path: '/one' },
      ]);
      const client = await stage.connect();
      for (const path of ['/', '/refused', '/one']) {
        client.send(`GET ${path}`);
        const answer = await client.answer();
        const fields = ['x-frame-options', 'content-security-policy', 'referrer-policy'];
        expect([path, ...fields.map((name) => answer.field(name))]).toEqual([
          path,
          'SAMEORIGIN',
          undefined,
          'no-referrer',
        ]);
      }
    });

    promise('Vary holds what guards have said, and what the handler has', async (stage) => {
      const marking: Guard = (exchange) => {
        exchange.append('Vary', 'Origin');
        return undefined;
      };
      const own = { Vary: 'Accept-Encoding, origin' };
      await stage.serve([
        get({ does: 'answer', status: 200, body: {}, headers: own }, [marking]),
        { ...get({ does: 'answer', status: 200, body: {} }, [marking]), path: '/plain' },
        {
          ...get({ does: 'write', write: (_request, response) => void response.writeHead(200, own).end() }, [marking]),
          path: '/written',
        },
      ]);
      const client = await stage.connect();
      for (const [path, vary] of [
        ['/', ['accept-encoding', 'origin']],
        ['/plain', ['origin']],
        ['/written', ['accept-encoding', 'origin']],
      ] as const) {
        client.send(`GET ${path}`);
        const said = (await client.answer()).field('vary') ?? '';
        expect([
          path,
          said
            .toLowerCase()
            .split(/\s*,\s*/)
            .sort(),
        ]).toEqual([path, vary]);
      }
    });

    describe.each(LEAVINGS)('a client that %s', (_name, leave) => {
      promise('before any answer has aborted, though the status still reads 200', async (stage) => {
        let response: ServerResponse | undefined;
        const keep = (_request: IncomingMessage, given: ServerResponse) => {
          response = given;
        };
        await stage.serve([get({ does: 'write', write: keep })]);
        const client = await stage.connect();
        client.send('GET /');
        await stage.handlers(1);
        expect(stage.entries[0]?.signal.aborted).toBe(false);
        leave(client.socket);
        expect(await stage.outcomes(1)).toEqual([ABORTED]);
        expect(stage.entries[0]?.signal.aborted).toBe(true);
        expect(response?.statusCode).toBe(200);
      });

      promise('has aborted once, although the handler then answers', async (stage) => {
        const left = gate();
        const answered: Handler = { does: 'answer', status: 200, body: {}, after: () => left.promise };
        await stage.serve([get(answered, [onAbort(left.resolve)])]);
        const client = await stage.connect();
        client.send('GET /');
        await stage.handlers(1);
        leave(client.socket);
        await left.promise;
        expect(await stage.outcomes(1)).toEqual([ABORTED]);
      });

      promise('in the middle of a body of 64 MB has aborted', async (stage) => {
        await stage.serve([get(big())]);
        const client = await stage.connect();
        client.send('GET /');
        await client.firstByte();
        leave(client.socket);
        expect(await stage.outcomes(1)).toEqual([ABORTED]);
      });

      promise('in the middle of a body of 64 MB, having ended its own side before, has aborted', async (stage) => {
        await stage.serve([get(big())]);
        const client = await stage.connect();
        client.socket.end(requestText('GET /'));
        await client.firstByte();
        leave(client.socket);
        expect(await stage.outcomes(1)).toEqual([ABORTED]);
      });

      promise('in the middle of a body of 64 MB, with another request waiting behind, aborts both', async (stage) => {
        await stage.serve([get(big()), { ...get(OK), path: '/next' }]);
        const client = await stage.connect();
        client.socket.write(requestText('GET /') + requestText('GET /next'));
        await client.firstByte();
        await stage.handlers(2);
        leave(client.socket);
        expect(await stage.outcomes(2)).toEqual([ABORTED, ABORTED]);
      });

      promise('in the middle of a stream has aborted', async (stage) => {
        const left = gate();
        await stage.serve([
          get(
            streaming(() => left.promise),
            [onAbort(left.resolve)],
          ),
        ]);
        const client = await stage.connect();
        client.send('GET /');
        await client.firstByte();
        leave(client.socket);
        await left.promise;
        expect(await stage.outcomes(1)).toEqual([ABORTED]);
      });

      promise('aborts every request that was open on the connection', async (stage) => {
        await stage.serve([get(NEVER)]);
        const client = await stage.connect();
        client.socket.write(requestText('GET /').repeat(5));
        await stage.handlers(5);
        leave(client.socket);
        expect(await stage.outcomes(5)).toEqual(Array(5).fill(ABORTED));
      });

      promise('aborts an answer that still waited behind an earlier one', async (stage) => {
        await stage.serve([get(NEVER), { ...get(OK), path: '/next' }]);
        const client = await stage.connect();
        client.socket.write(requestText('GET /') + requestText('GET /next'));
        await stage.handlers(2);
        await turns();
        leave(client.socket);
        expect(await stage.outcomes(2)).toEqual([ABORTED, ABORTED]);
      });

      for (const [place, behind] of BEHIND) {
        promise(`while a guard is waiting does not start ${place} behind it`, async (stage) => {
          const [reached, release] = [gate(), gate()];
          const slow: Guard = async (exchange) => {
            reached.resolve();
            await release.promise;
            exchange.set('X-Late', 'yes');
            return undefined;
          };
          await stage.serve([get(OK, ...behind(slow))]);
          const client = await stage.connect();
          client.send('GET /');
          await reached.promise;
          leave(client.socket);
          expect(await stage.outcomes(1)).toEqual([ABORTED]);
          release.resolve();
          await turns();
          expect(stage.faults).toEqual([]);
          expect(stage.entered).toEqual([]);
        });
      }

      promise('while a guard is waiting has aborted, although the guard then refuses', async (stage) => {
        const [reached, release] = [gate(), gate()];
        const slow: Guard = async () => {
          reached.resolve();
          await release.promise;
          return refusing();
        };
        await stage.serve([get(OK, [slow])]);
        const client = await stage.connect();
        client.send('GET /');
        await reached.promise;
        leave(client.socket);
        expect(await stage.outcomes(1)).toEqual([ABORTED]);
        release.resolve();
        await turns();
        expect(stage.entered).toEqual([]);
      });
    });

    promise('starts no guard and no handler for a client that left before the first guard', async (stage) => {
      const proceeds: (() => void)[] = [];
      const [reached, gone] = [gate(), gate()];
      await stage.serve([get(OK)], {
        before: (proceed, _answer, socket) => {
          proceeds.push(proceed);
          if (proceeds.length > 1) return proceed();
          socket.once('close', gone.resolve);
          reached.resolve();
        },
      });
      const client = await stage.connect();
      client.send('GET /');
      await reached.promise;
      client.socket.destroy();
      await gone.promise;
      await turns();
      proceeds[0]?.();
      await turns();
      expect(stage.entered).toEqual([]);
      expect(stage.entries).toEqual([]);
      expect((await stage.ask('GET /')).status).toBe(200);
      expect(await stage.outcomes(1)).toEqual([completed(200)]);
      expect(stage.entered).toHaveLength(1);
    });

    promise("takes node's own client that gives up for aborted", async (stage) => {
      await stage.serve([get(NEVER)]);
      const client = sendRequest({ port: stage.port, host: '127.0.0.1', agent: false });
      client.on('error', () => undefined);
      client.end();
      await stage.handlers(1);
      client.destroy();
      expect(await stage.outcomes(1)).toEqual([ABORTED]);
    });

    promise('settles an answer that breaks off half-way as aborted', async (stage) => {
      const breaking: Handler = {
        does: 'write',
        write: (_request, response) => {
          response.writeHead(200, { 'Content-Length': 1000 });
          response.write('half', () => response.destroy());
        },
      };
      await stage.serve([get(breaking)]);
      const client = await stage.connect();
      client.send('GET /');
      expect(await client.rest()).toMatch(/half$/);
      expect(await stage.outcomes(1)).toEqual([ABORTED]);
    });

    promise('settles an answer as aborted that is ended just after its socket was destroyed', async (stage) => {
      const write = (request: IncomingMessage, response: ServerResponse) => {
        response.writeHead(200, { 'Content-Length': 8 });
        response.write('half', () => {
          request.socket.destroy();
          response.end();
        });
      };
      await stage.serve([get({ does: 'write', write })]);
      const client = await stage.connect();
      client.send('GET /');
      await client.rest();
      expect(await stage.outcomes(1)).toEqual([ABORTED]);
    });

    promise('settles an answer as aborted whose socket the server destroys in the middle of 64 MB', async (stage) => {
      const sockets: Socket[] = [];
      const write = (request: IncomingMessage, response: ServerResponse) => {
        sockets.push(request.socket);
        response.end(Buffer.alloc(BIG));
      };
      await stage.serve([get({ does: 'write', write })]);
      const client = await stage.connect();
      client.send('GET /');
      await client.firstByte();
      sockets[0]?.destroy();
      expect(await stage.outcomes(1)).toEqual([ABORTED]);
    });

    describe('a client that has ended its own side and still reads', () => {
      promise('has completed', async (stage) => {
        await stage.serve([get(OK)]);
        const client = await stage.connect();
        client.socket.end(requestText('GET /'));
        expect((await client.answer()).json()).toEqual({ ok: true });
        expect(await stage.outcomes(1)).toEqual([completed(200)]);
      });

      promise('has completed after all of 64 MB, not before', async (stage) => {
        await stage.serve([get(big())]);
        const client = await stage.connect();
        client.socket.end(requestText('GET /'));
        await client.firstByte();
        await turns();
        expect(stage.entries[0]?.outcomes).toEqual([]);
        client.socket.resume();
        expect((await client.answer()).body).toHaveLength(BIG);
        expect(await stage.outcomes(1)).toEqual([completed(200)]);
      });
    });

    describe('a socket that the handler takes over', () => {
      const bytes = 'HTTP/1.1 299 Mine\r\nContent-Length: 2\r\n\r\nhi';
      const takeOvers: readonly (readonly [name: string, write: (response: ServerResponse, socket: Socket) => void])[] =
        [
          [
            'with detachSocket',
            (response, socket) => {
              response.detachSocket(socket);
              socket.end(bytes);
            },
          ],
          ['without a word', (_response, socket) => void socket.end(bytes)],
        ];
      for (const [kind, take] of takeOvers) {
        promise(`${kind} settles once, when it closes`, async (stage) => {
          const go = gate();
          const write = (request: IncomingMessage, response: ServerResponse) => {
            void go.promise.then(() => take(response, request.socket));
          };
          await stage.serve([get({ does: 'write', write })]);
          const client = await stage.connect();
          client.send('GET /');
          await stage.handlers(1);
          go.resolve();
          expect((await client.answer()).status).toBe(299);
          await turns();
          // The server has said its last word; the client has not closed yet.
          expect(stage.entries[0]?.outcomes).toEqual([]);
          client.socket.end();
          expect(await stage.outcomes(1)).toEqual([ABORTED]);
        });
      }
    });

    describe('a guard that outlives the answer of a time-out', () => {
      const refusals: readonly (readonly [name: string, guard: Guard])[] = [
        ['passes', () => undefined],
        ['refuses', refusing],
        ['throws', throwing(new Error('late'))],
      ];
      const cases = refusals.flatMap(([kind, then]) => BEHIND.map((behind) => [kind, then, ...behind] as const));
      for (const [kind, then, place, behind] of cases) {
        promise(`and then ${kind} changes nothing, and ${place} behind it is not started`, async (stage) => {
          const [reached, release] = [gate(), gate()];
          const timeOuts: (() => void)[] = [];
          const slow: Guard = async (exchange) => {
            reached.resolve();
            await release.promise;
            exchange.set('X-Late', 'yes');
            return then(exchange);
          };
          await stage.serve([get(OK, ...behind(slow))], {
            before: (proceed, answer) => {
              timeOuts.push(answer);
              proceed();
            },
          });
          const client = await stage.connect();
          client.send('GET /');
          await reached.promise;
          timeOuts[0]?.();
          const answer = await client.answer();
          expect(answer.status).toBe(503);
          expect(answer.field('x-guarded')).toBe('yes');
          expect(await stage.outcomes(1)).toEqual([completed(503)]);
          release.resolve();
          await turns();
          expect(stage.entered).toEqual([]);
          expect(stage.faults).toHaveLength(kind === 'throws' ? 1 : 0);
          // The connection is unharmed.
          client.send('GET /elsewhere');
          expect((await client.answer()).status).toBe(404);
          await stage.outcomes(2);
        });
      }
    });

    describe('a guard at fault', () => {
      const faulty = async (stage: Stage, guard: Guard) => {
        await stage.serve([get(OK, [guard])]);
        const answer = await stage.ask('GET /');
        expect(answer.status).toBe(500);
        expect(answer.field('x-guarded')).toBe('yes');
        expect(answer.field('x-injected')).toBeUndefined();
        expect(answer.json()).toMatchObject({ code: 'internal-error' });
        expect(await stage.outcomes(1)).toEqual([FAULT]);
        expect(stage.entered).toEqual([]);
        expect(stage.faults).toHaveLength(1);
      };
      for (const thrown of THROWN) {
        const shown = thrown instanceof Error ? 'an error' : JSON.stringify(thrown);
        promise(`that throws ${shown} is answered with 500 and reported`, async (stage) => {
          await faulty(stage, throwing(thrown));
          expect(stage.faults).toEqual([thrown]);
        });
        promise(`that rejects with ${shown} is answered with 500 and reported`, async (stage) => {
          await faulty(stage, () => Promise.reject(thrown));
          expect(stage.faults).toEqual([thrown]);
        });
      }
      for (const [kind, value] of GARBAGE) {
        promise(`that returns ${kind} is answered with 500 and reported`, (stage) => faulty(stage, answering(value)));
        promise(`that promises ${kind} is answered with 500 and reported`, (stage) => {
          return faulty(stage, answering(Promise.resolve(value)));
        });
      }
      promise('that sets a header with a line break is answered with 500 and reported', (stage) => {
        return faulty(stage, (exchange) => {
          exchange.set('X-Bad', 'a\r\nX-Injected: b');
          return undefined;
        });
      });
    });

    describe('one connection', () => {
      promise('settles each of three requests on its own', async (stage) => {
        const rest = gate();
        await stage.serve([
          get(OK),
          { ...get(OK, [refusing]), path: '/refused' },
          { ...get(streaming(() => rest.promise)), path: '/stream' },
        ]);
        const client = await stage.connect();
        client.send('GET /');
        expect((await client.answer()).status).toBe(200);
        expect(await stage.outcomes(1)).toEqual([completed(200)]);
        client.send('GET /refused');
        expect((await client.answer()).status).toBe(401);
        expect(await stage.outcomes(2)).toEqual([completed(200), UNAUTHORIZED]);
        client.send('GET /stream');
        await stage.handlers(2);
        await turns();
        expect(stage.entries[2]?.outcomes).toEqual([]);
        rest.resolve();
        expect((await client.answer()).body.toString()).toBe('one\ntwo\n');
        expect(await stage.outcomes(3)).toEqual([completed(200), UNAUTHORIZED, completed(200)]);
        expect(stage.entries).toHaveLength(3);
      });

      promise('settles what was answered and aborts only what was not', async (stage) => {
        await stage.serve([get(OK), { ...get(NEVER), path: '/never' }]);
        const client = await stage.connect();
        client.send('GET /');
        await client.answer();
        client.send('GET /never');
        await stage.handlers(2);
        client.socket.destroy();
        expect(await stage.outcomes(2)).toEqual([completed(200), ABORTED]);
      });

      promise('answers twelve requests of one write in order, without a warning', async (stage) => {
        const warnings: Error[] = [];
        const warn = (warning: Error) => void warnings.push(warning);
        process.on('warning', warn);
        try {
          const gates = Array.from({ length: 12 }, () => gate());
          const routes = gates.map((one, i): Route => {
            return { ...get({ does: 'answer', status: 200, body: { i }, after: () => one.promise }), path: `/${i}` };
          });
          await stage.serve(routes);
          const client = await stage.connect();
          client.socket.write(routes.map(({ path }) => requestText(`GET ${path}`)).join(''));
          await stage.handlers(12);
          // All twelve are open; they are answered last first.
          for (const one of gates.toReversed()) {
            one.resolve();
            await nextTurn();
          }
          for (let i = 0; i < 12; i++) {
            const answer = await client.answer();
            expect(answer.json()).toEqual({ i });
            expect(answer.field('x-guarded')).toBe('yes');
          }
          expect(await stage.outcomes(12)).toEqual(Array(12).fill(completed(200)));
          await turns();
          expect(warnings).toEqual([]);
        } finally {
          process.off('warning', warn);
        }
      });

      promise('carries a thousand requests and leaves no listener behind', async (stage) => {
        const counts: Record<string, number>[] = [];
        const counting: Handler = {
          does: 'write',
          write: (request, response) => {
            counts.push(listeners(request.socket));
            response.end('counted');
          },
        };
        await stage.serve([get(counting)]);
        const client = await stage.connect();
        for (let i = 0; i < 1000; i++) {
          client.send('GET /');
          await client.answer();
        }
        expect(await stage.outcomes(1000)).toEqual(Array(1000).fill(completed(200)));
        expect(counts).toHaveLength(1000);
        expect(counts[999]).toEqual(counts[1]);
      });

      promise('holds on to no exchange that has ended, while it stays open', async (stage) => {
        const seen: WeakRef<Exchange>[] = [];
        const note: Guard = (exchange) => {
          seen.push(new WeakRef(exchange));
          return undefined;
        };
        await stage.serve([get(OK, [note]), { ...get(OK, stage.watch), path: '/last' }], {
          guards: [],
          entered: () => undefined,
        });
        const client = await stage.connect();
        for (let i = 0; i < 100; i++) {
          client.send('GET /');
          await client.answer();
        }
        client.send('GET /last');
        await client.answer();
        await stage.outcomes(1);
        await turns();
        collectGarbage();
        // Node itself keeps the latest request of a connection for a while.
        expect(seen.filter((exchange) => exchange.deref() !== undefined).length).toBeLessThan(10);
      });
    });

    describe('an exchange', () => {
      promise('is one and the same for every guard call of a request, and its hooks run once', async (stage) => {
        const seen: [place: string, exchange: Exchange][] = [];
        const hooks: string[] = [];
        const place = (name: string): Guard => {
          return (exchange) => {
            seen.push([name, exchange]);
            exchange.onEnd(() => hooks.push(name));
            return undefined;
          };
        };
        const later = (name: string): Guard => sequence(() => nextTurn(undefined), place(name));
        await stage.serve([], {
          guards: [stage.watch, [place('app')]],
          mount: {
            path: '/inner',
            guards: [[place('router')]],
            routes: [{ ...get(OK, [later('first')], [place('second'), place('third')]), path: '/leaf' }],
          },
        });
        expect((await stage.ask('GET /inner/leaf')).status).toBe(200);
        await stage.outcomes(1);
        const [entry] = stage.entries;
        expect(seen.map(([name]) => name)).toEqual(['app', 'router', 'first', 'second', 'third']);
        for (const [, exchange] of seen) expect(exchange).toBe(entry?.exchange);
        expect(stage.entered).toEqual([entry?.exchange]);
        expect(stage.entered[0]).toBe(entry?.exchange);
        expect(hooks).toEqual(['third', 'second', 'first', 'router', 'app']);
      });

      promise('is another one for every request', async (stage) => {
        await stage.serve([get(OK)]);
        const client = await stage.connect();
        for (let i = 0; i < 2; i++) {
          client.send('GET /');
          await client.answer();
        }
        await stage.outcomes(2);
        expect(stage.entered[0]).not.toBe(stage.entered[1]);
      });

      promise('shows method, whole target and peer, also in a mounted router', async (stage) => {
        const seen: unknown[] = [];
        const look: Guard = ({ request }) => {
          seen.push([request.method, request.url, request.remoteAddress, request.encrypted]);
          return undefined;
        };
        await stage.serve([], {
          mount: {
            path: '/inner',
            guards: [[look]],
            routes: [{ method: 'POST', path: '/leaf', guards: [[() => nextTurn(undefined), look]], handler: OK }],
          },
        });
        const target = '/inner/leaf?a=1&a=%20%2F..';
        expect((await stage.ask(`POST ${target}`, 'Content-Length: 0')).status).toBe(200);
        await stage.outcomes(1);
        const whole = ['POST', target, '127.0.0.1', false];
        expect(seen).toEqual([whole, whole]);
        expect(stage.entered[0]?.request.url).toBe(target);
      });

      promise('shows every field line of a header, in order, and none of another', async (stage) => {
        let lines: readonly (readonly string[])[] = [];
        const look: Guard = ({ request }) => {
          lines = ['authorization', 'x-forwarded-for', 'cookie', 'x-forwarded', '__proto__', 'host'].map((name) =>
            request.fieldLines(name),
          );
          return undefined;
        };
        await stage.serve([get(OK, [look])]);
        await stage.ask(
          'GET /',
          'Authorization: Bearer a',
          'X-Forwarded-For: 6.6.6.6, 7.7.7.7',
          'AUTHORIZATION: Bearer b',
          'x-forwarded-for:1.2.3.4',
          'Cookie: a=1',
          'X-Forwarded-For:',
          'Cookie: b=2',
        );
        await stage.outcomes(1);
        expect(lines).toEqual([
          ['Bearer a', 'Bearer b'],
          ['6.6.6.6, 7.7.7.7', '1.2.3.4', ''],
          ['a=1', 'b=2'],
          [],
          [],
          ['gatewarden.test'],
        ]);
      });
    });
  });
}

/** Calls `left` when the client of the exchange has gone. */
function onAbort(left: () => void): Guard {
  return (exchange) => {
    exchange.signal.addEventListener('abort', () => left());
    return undefined;
  };
}
