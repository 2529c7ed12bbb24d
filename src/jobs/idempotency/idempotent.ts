import { checkExchange } from '../../core/check-exchange.js';
import { type Duration, milliseconds } from '../../core/duration.js';
import type { Exchange } from '../../core/exchange.js';
import type { Guard } from '../../core/guard.js';
import { inOrder } from '../../core/guard-order.js';
import { badSecret, boolean, callback, checkOptionNames, type OptionNames, oneOf } from '../../core/option.js';
import { type ProblemCode, problem } from '../../core/problem.js';
import { type Reply, refuse } from '../../core/reply.js';
import { bytes, type Size } from '../../core/size.js';
import { callerOfKey } from './caller-of-key.js';
import { digestOf, type Fingerprint, fingerprintOf } from './fingerprint.js';
import { readIdempotencyKey } from './idempotency-key.js';
import type { Begun, IdempotencyStore } from './idempotency-store.js';
import { KeyRun, type RunEnd, type RunSettings } from './key-run.js';
import { memoryIdempotencyStore } from './memory-idempotency-store.js';
import { replayOf } from './recorded-answer.js';

/** Options of `idempotent`. */
export interface IdempotentOptions {
  /** `redisIdempotencyStore()` for several processes. Default a `memoryIdempotencyStore()` of the guard's own. */
  readonly store?: IdempotencyStore | undefined;
  /** How long an answer is remembered. Default `'24h'`. */
  readonly ttl?: Duration | undefined;
  /**
   * The largest answer that is remembered, headers included. A repeat of a request with a larger one is refused with 409. Default
   * `'64kb'`, at most `'16mb'`.
   */
  readonly maxBytes?: Size | undefined;
  /**
   * The largest request body that is read to find out whether a repeat is the same request. It is held in memory. Of a larger
   * one, its length, its type and its `Content-Digest` are compared. Default `'1mb'`, at most `'1gb'`.
   */
  readonly maxRequestBytes?: Size | undefined;
  /** Whether a POST or PATCH request without a key is refused. Default false. */
  readonly required?: boolean | undefined;
  /**
   * Which repeats of a request that still runs wait for its answer: those that reach the same process, or `all`. The others
   * get 409. Default `process`.
   */
  readonly join?: 'process' | 'all' | undefined;
  /** How long such a repeat waits. After that, it gets 409. Default `'10m'`, at most `'24h'`. */
  readonly joinTimeout?: Duration | undefined;
  /** For how long a process that has stopped keeps a key. A process renews it while a request runs. Default `'30s'`. */
  readonly lease?: Duration | undefined;
  /** How long to wait for the handler's answer if the client has left. After that, the key is free. Default `'10m'`. */
  readonly handlerTimeout?: Duration | undefined;
  /**
   * Whether an answer of the handler with this status is remembered. Default all but 408, 425, 429 and 5xx, so that a client
   * can try again. A refusal of a guard is never remembered.
   */
  readonly remember?: ((status: number) => boolean) | undefined;
  /** How long to wait for the store. Default `'1s'`, at most `'60s'`. */
  readonly timeout?: Duration | undefined;
}

type Digest = Extract<Fingerprint, { kind: 'digest' }>;

const FACTORY = 'idempotent';
const OPTIONS: OptionNames<IdempotentOptions> = {
  store: true,
  ttl: true,
  maxBytes: true,
  maxRequestBytes: true,
  required: true,
  join: true,
  joinTimeout: true,
  lease: true,
  handlerTimeout: true,
  remember: true,
  timeout: true,
};
const VERBS = ['begin', 'renew', 'finish', 'release'] as const;
const SAFE_METHODS = ['GET', 'HEAD', 'OPTIONS', 'TRACE'];
/** The methods that are not idempotent by themselves (RFC 9110 section 9.2.2). */
const KEYED_METHODS = ['POST', 'PATCH'];
const DAY = 86_400_000;
const YEAR = 366 * DAY;
const MAX_BYTES = 16_777_216;
const MAX_REQUEST_BYTES = 1_073_741_824;
const MIN_LEASE = 1000;
const MAX_TIMEOUT = 60_000;
/** 132 bits, enough to keep clients apart. */
const CLIENT_LENGTH = 22;
/** Pauses between questions to the store, in milliseconds: the first, and the longest. */
const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 1000;

const MISSING = refuse(problem('idempotency-key-missing'));
const MALFORMED = refuse(problem('idempotency-key-malformed'));
const TOO_LARGE = refuse(problem('content-too-large'));
const REFUSALS: Readonly<Record<Exclude<RunEnd['kind'], 'answered' | 'free'>, Reply>> = {
  reused: refusal('idempotency-key-reused'),
  conflict: refusal('idempotency-conflict', '2'),
  unavailable: refusal('idempotency-unavailable', '5'),
};

/**
 * Runs a request once, however often it is sent. A client sends an `Idempotency-Key` header
 * (draft-ietf-httpapi-idempotency-key-header) with a new key for each request, such as a UUID, and the same key whenever it
 * repeats the request. A repeat gets the answer of the first one, with `Idempotency-Replayed: true`, and no later guard
 * charges it. While the first one runs, a repeat waits for its answer, or gets 409 `idempotency-conflict` from another
 * process. With another body, it gets 422 `idempotency-key-reused`.
 *
 * A key belongs to its client (the principal, or the address of a caller without one), the method and the path. Put the guard
 * behind `authenticate`, and before `limit`, `upload` and body parsers. It reads the body, which parsers can still read.
 * Requests with GET, HEAD or OPTIONS, and requests without a key, pass. The answer is sent after the store has it.
 *
 * ```ts
 * app.post('/jobs', guard(authenticate(keys), idempotent(), limit(...)), handler)
 * ```
 * @throws OptionError
 */
export function idempotent(options: IdempotentOptions = {}): Guard {
  checkOptionNames(FACTORY, options, OPTIONS);
  const { store = memoryIdempotencyStore() } = options;
  if (!VERBS.every((verb) => typeof store?.[verb] === 'function')) {
    // Not shown: it may be a URL with a password.
    throw badSecret(FACTORY, 'store', 'must be a store such as memoryIdempotencyStore() or redisIdempotencyStore()');
  }
  const required = boolean(FACTORY, 'required', options.required ?? false);
  const join = oneOf(FACTORY, 'join', options.join ?? 'process', ['process', 'all']);
  const joinTimeout = milliseconds(FACTORY, 'joinTimeout', options.joinTimeout ?? '10m', DAY);
  const maxRequestBytes = bytes(FACTORY, 'maxRequestBytes', options.maxRequestBytes ?? '1mb', MAX_REQUEST_BYTES);
  const runs = new Map<string, KeyRun>();
  const settings: RunSettings = {
    store,
    runs,
    ttl: milliseconds(FACTORY, 'ttl', options.ttl ?? '24h', YEAR),
    maxBytes: bytes(FACTORY, 'maxBytes', options.maxBytes ?? '64kb', MAX_BYTES),
    lease: milliseconds(FACTORY, 'lease', options.lease ?? '30s', DAY, MIN_LEASE),
    handlerTimeout: milliseconds(FACTORY, 'handlerTimeout', options.handlerTimeout ?? '10m', DAY),
    timeout: milliseconds(FACTORY, 'timeout', options.timeout ?? '1s', MAX_TIMEOUT),
    remember: callback(FACTORY, 'remember', options.remember) ?? isFinal,
  };

  async function decide(exchange: Exchange, clientKey: string): Promise<Reply | undefined> {
    const { request } = exchange;
    const [path = ''] = request.url.split('?', 1);
    const client = digestOf(callerOfKey(exchange)).slice(0, CLIENT_LENGTH);
    const key = `${client}:${digestOf([request.method, path, clientKey])}`;
    const fingerprint = await fingerprintOf(request, maxRequestBytes);
    if (fingerprint.kind === 'too-large') return TOO_LARGE;
    if (fingerprint.kind === 'aborted') return REFUSALS.unavailable;
    for (;;) {
      // The client has left: nothing must begin.
      if (exchange.outcome !== undefined) return undefined;
      const first = runs.get(key);
      const end =
        first === undefined
          ? await start(exchange, key, fingerprint)
          : await joined(first, exchange, fingerprint.digest);
      if (end === 'started') return undefined;
      if (end.kind === 'answered') return replayOf(end.answer);
      if (end.kind !== 'free') return REFUSALS[end.kind];
    }
  }

  async function joined(first: KeyRun, exchange: Exchange, fingerprint: string): Promise<RunEnd> {
    return first.fingerprint === fingerprint ? first.join(exchange, joinTimeout) : { kind: 'reused' };
  }

  async function start(exchange: Exchange, key: string, { digest, isWhole }: Digest): Promise<RunEnd | 'started'> {
    const run = new KeyRun(settings, key, digest);
    try {
      const begun = await begin(run, exchange);
      if (begun.kind !== 'new') {
        const end = endOf(begun, digest);
        run.settle(end);
        return end;
      }
    } catch (error) {
      exchange.fault(error);
      const end: RunEnd = { kind: 'unavailable' };
      run.settle(end);
      return end;
    }
    if (exchange.outcome === undefined) await run.hold(exchange, isWhole);
    else await run.release();
    return 'started';
  }

  /** Asks until no other process runs the request, if repeats wait for other processes. */
  async function begin(run: KeyRun, exchange: Exchange): Promise<Begun> {
    const giveUpAt = performance.now() + joinTimeout;
    for (let wait = FIRST_PAUSE; ; wait = Math.min(2 * wait, LONGEST_PAUSE)) {
      const begun = await run.begin();
      const isOver =
        begun.kind !== 'running' || begun.fingerprint !== run.fingerprint || exchange.outcome !== undefined;
      if (isOver || join === 'process' || performance.now() + wait > giveUpAt) return begun;
      await pause(wait, exchange);
    }
  }

  function idempotent(exchange: Exchange): ReturnType<Guard> {
    checkExchange(FACTORY, exchange);
    const { request } = exchange;
    if (SAFE_METHODS.includes(request.method)) return undefined;
    const read = readIdempotencyKey(request);
    if (read.kind === 'malformed') return MALFORMED;
    if (read.kind === 'key') return decide(exchange, read.key);
    return required && KEYED_METHODS.includes(request.method) ? MISSING : undefined;
  }

  return inOrder(idempotent, {
    name: FACTORY,
    after: {
      authenticate: 'a key belongs to the client that authenticate finds',
      clientIp: 'a key belongs to the address that clientIp finds',
    },
    before: { upload: 'upload would read the body of a repeat' },
    once: 'it would wait for itself',
  });
}

function refusal(code: Extract<ProblemCode, `idempotency-${string}`>, retryAfter?: string): Reply {
  return refuse(problem(code), retryAfter === undefined ? [] : [['Retry-After', retryAfter]]);
}

/** Answers after which a client is meant to try again are not final. */
function isFinal(status: number): boolean {
  return status < 500 && status !== 408 && status !== 425 && status !== 429;
}

function endOf(begun: Exclude<Begun, { kind: 'new' }>, fingerprint: string): RunEnd {
  switch (begun.kind) {
    case 'answered':
      return begun.fingerprint === fingerprint ? { kind: 'answered', answer: begun.answer } : { kind: 'reused' };
    case 'running':
      return { kind: begun.fingerprint === fingerprint ? 'conflict' : 'reused' };
    case 'full':
      throw new Error('gatewarden: the idempotency store is full');
    default:
      throw new TypeError("gatewarden: an idempotency store's begin must return a Begun");
  }
}

/** Ends at once if the client leaves. */
function pause(ms: number, exchange: Exchange): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    exchange.onEnd(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
