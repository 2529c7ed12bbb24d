// Guards in front of a handler that does nothing, over HTTP: each side is a service, called over 50 connections.
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { generateApiKey } from 'gatewarden';
import { load } from '../load.js';
import { ORIGIN } from './http-ideal.js';
import { startServer } from './http-server.js';

const CONNECTIONS = 50;
const ALL = 'request id, security headers, CORS, an API key, a limit';
const CPU = 'cpu is the processor time that the service needs for a request.';

/** The service gets a core of its own, as the load does. Where there is no `taskset`, the system decides. */
function pinThisProcess() {
  if (availableParallelism() > 1) spawnSync('taskset', ['-apc', '0', String(process.pid)], { stdio: 'ignore' });
}

/** One service as a side of a row. */
function side(name, framework, stack, guarantees) {
  return {
    name,
    guarantees,
    open: async ({ key }) => {
      pinThisProcess();
      return { url: `http://127.0.0.1:${await startServer(framework, stack, key)}/generate`, key };
    },
    run: async (_round, { url, key }) => {
      const before = process.cpuUsage();
      const { figure, requests, p99 } = await load({
        url,
        connections: CONNECTIONS,
        headers: { 'accept-encoding': 'gzip, deflate', origin: ORIGIN, 'x-api-key': key },
      });
      const { user, system } = process.cpuUsage(before);
      return { figure, cpu: (user + system) / requests, p99 };
    },
  };
}

const COMMON = {
  unit: 'requests/s',
  better: 'higher',
  ratioTo: 'bare',
  measures: { cpu: { unit: 'us', better: 'lower' }, p99: { unit: 'ms', better: 'lower' } },
  open: async () => ({ key: generateApiKey({ clientId: 'bench' }).key }),
};
const NO_GUARD = 'no guard';
const BY_HAND = 'the same checks and headers, written by hand for one service; no options, faults or refunds';
const OURS = 'a sliding window; all or nothing is charged, and given back on 5xx';

const NOTES = {
  express:
    'Express replaces the prototype of each request and response. On Node 20, V8 then gives each of them a hidden class of ' +
    'its own as soon as a member is added, and the first touch of every member is a look-up in the runtime: that is why ' +
    'bare Express needs several times what bare Fastify needs. Without a network, the five guards need 11 us by hand and 36 us ' +
    'here on such objects (8 and 11 us on those of Node). What remains is spread: two members that are added (`exchange` ' +
    'and `writeHead`, 3 us each), two listeners (2 us), the headers that are looked at before they are set (2 us), and ' +
    'garbage. Tried for `writeHead`: a closure (4 us more on every framework), a shared function with its data under a ' +
    'symbol (one member more, 3 us), a bound function (kept), and finding the data through `response.req` (as fast, but ' +
    "two copies of the package in one process would lose each other's `Vary`).",
  fastify:
    'The goal comes from Node 24. On Node 20 the guards written by hand do not reach it either. Without a network they ' +
    'need 7.6 us, and these 11.3 us. No function of the difference takes more than 0.7 us: the checksum of the key, names ' +
    'of headers, and the decision of the limit lead. Tried without a measurable gain: a memory for the last header name, ' +
    'a checksum of four characters at once (0.02 us), and `zlib.crc32` (slower).',
  hono:
    'As for Fastify: guards written by hand on the response of Node reach the goal, those on web responses do not. ' +
    'Of the difference to the ones by hand, the promise of the middleware and its context take 0.7 us, the rest as there.',
};

/** Five guards in front of a handler of one framework. */
function fiveGuards(framework, name, peers, { atLeast, atMost }, more = []) {
  return {
    ...COMMON,
    name: `http: ${name}`,
    about: `${ALL} in front of a handler of ${name}. ${CPU}`,
    notes: NOTES[framework],
    goals: [
      { side: 'gatewarden', over: 'bare', atLeast },
      { side: 'gatewarden', minus: 'bare', measure: 'cpu', atMost },
      { side: 'gatewarden', over: 'by hand', measure: 'p99', atMost: 1.3 },
    ],
    sides: [
      side('bare', framework, 'bare', NO_GUARD),
      side('by hand', framework, 'ideal', BY_HAND),
      ...more,
      side('gatewarden', framework, 'gatewarden', OURS),
      side('peers', framework, 'peers', `${peers}; a fixed window`),
    ],
  };
}

const ours = (stack, guarantees) => side(`gatewarden: ${stack}`, 'express', stack, guarantees);
const peer = (name, stack, guarantees) => side(name, 'express', `peer: ${stack}`, guarantees);
const onePeer = (stack, atMost) => ({ side: `gatewarden: ${stack}`, minus: 'bare', measure: 'cpu', atMost });

export const rows = [
  fiveGuards('express', 'Express', 'express-request-id, helmet, cors, a key check, express-rate-limit', {
    atLeast: 0.62,
    atMost: 11.5,
  }),
  fiveGuards('fastify', 'Fastify', '@fastify/helmet, @fastify/cors, a key check, @fastify/rate-limit', {
    atLeast: 0.66,
    atMost: 7.5,
  }),
  fiveGuards(
    'hono',
    'Hono on Node',
    "Hono's requestId, secureHeaders and cors, a key check, hono-rate-limiter",
    { atLeast: 0.53, atMost: 10.5 },
    [side('by hand, portable', 'hono', 'portable ideal', `${BY_HAND}; on web responses, as on other runtimes`)],
  ),
  {
    ...COMMON,
    name: 'http: one guard',
    about: `One guard alone in front of a handler of Express. ${CPU}`,
    notes:
      'An exchange of its own, which several guards would share, is most of each figure: see `empty`. `cors` also has to ' +
      'replace `writeHead`, so that a handler cannot remove its `Vary`. The package `cors` does not prevent that.',
    goals: [onePeer('cors', 3), onePeer('request id', 1.8)],
    sides: [
      side('bare', 'express', 'bare', NO_GUARD),
      ours('empty', 'a guard that does nothing'),
      ours('request id', 'a UUID, or the id of the request if it is well-formed'),
      peer('express-request-id', 'request id', 'a UUID, or any id of the request'),
      ours('headers', '7 headers'),
      peer('helmet', 'headers', '12 headers'),
      ours('cors', 'one origin, and which headers a page may read'),
      peer('cors', 'cors', 'one origin'),
      ours('key', 'one of any number of keys, by digest'),
      peer('a key check', 'key', 'one key, by digest'),
      ours('limit', OURS),
      peer('express-rate-limit', 'limit', 'a fixed window; refused requests are charged'),
    ],
  },
];
