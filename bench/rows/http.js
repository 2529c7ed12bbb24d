// Guards in front of a handler that does nothing, over HTTP: each side is a service, called over 50 connections.
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { generateApiKey } from 'gatewarden';
import { load } from '../load.js';
import { ORIGIN } from './http-ideal.js';
import { service } from './http-server.js';
import { fiveGuardsSides, oneGuardSides } from './http-sides.js';

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
      const { listen } = await service(framework, stack, key);
      return { url: `http://127.0.0.1:${await listen()}/generate`, key };
    },
    run: async (_round, { url, key }) => {
      const send = () =>
        load({
          url,
          connections: CONNECTIONS,
          headers: { 'accept-encoding': 'gzip, deflate', origin: ORIGIN, 'x-api-key': key },
        });
      // While the others had their turn, V8 has shrunk the heap of this process, as it does with a service that is idle.
      await send();
      const before = process.cpuUsage();
      const { figure, requests, p99 } = await send();
      const { user, system } = process.cpuUsage(before);
      return { figure, cpu: (user + system) / requests, p99 };
    },
  };
}

const COMMON = {
  onNode24: true,
  // V8 is still compiling for some ten thousand requests.
  warmUps: 3,
  unit: 'requests/s',
  better: 'higher',
  ratioTo: 'bare',
  measures: { cpu: { unit: 'us', better: 'lower' }, p99: { unit: 'ms', better: 'lower' } },
  open: async () => ({ key: generateApiKey({ clientId: 'bench' }).key }),
};

const WITHOUT =
  'The row "no network" shows the same without system calls, which differ more from round to round than the guards cost.';
const NOTES = {
  express:
    `${WITHOUT} All sides run on Node 24. On Node 20, V8 gives each request and response of Express a hidden class of its own as ` +
    'soon as a member is added, and the guards cost several times as much. Tried for `writeHead`, which `cors` and headers of the ' +
    'end need: a closure (4 us more), a shared function with its data under a symbol (one member more, 3 us on Node 20), a bound ' +
    'function (kept), and finding the data through `response.req` (as fast, but two copies of the package in one process would ' +
    "lose each other's `Vary`).",
  fastify:
    `${WITHOUT} No function of the difference to the guards by hand takes more than 0.7 us: the checksum of the key, names of ` +
    'headers, and the decision of the limit lead. Tried without a measurable gain: a memory for the last header name, a checksum ' +
    'of four characters at once (0.02 us), and `zlib.crc32` (slower).',
  hono:
    `${WITHOUT} Guards written by hand on the response of Node reach the goal, those on web responses do not. Of the difference ` +
    'to the ones by hand, the promise of the middleware and its context take 0.7 us, the rest as for Fastify.',
};

/** Five guards in front of a handler of one framework. */
function fiveGuards(framework, name, peers, { atLeast, atMost }) {
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
    sides: fiveGuardsSides(side, framework, peers),
  };
}

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
  fiveGuards('hono', 'Hono on Node', "Hono's requestId, secureHeaders and cors, a key check, hono-rate-limiter", {
    atLeast: 0.53,
    atMost: 10.5,
  }),
  {
    ...COMMON,
    name: 'http: one guard',
    about: `One guard alone in front of a handler of Express. ${CPU}`,
    notes:
      '`cors` also replaces `writeHead`, so that a handler cannot remove its `Vary`. The package `cors` does not prevent that. ' +
      WITHOUT,
    goals: [onePeer('cors', 3), onePeer('request id', 1.8)],
    sides: oneGuardSides(side),
  },
];
