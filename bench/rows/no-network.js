// The services of rows/http.js without a network: the processor time of a request, without that of the system calls.
import { IncomingMessage, ServerResponse } from 'node:http';
import { Duplex } from 'node:stream';
import { generateApiKey } from 'gatewarden';
import { ORIGIN } from './http-ideal.js';
import { service } from './http-server.js';
import { fiveGuardsSides, oneGuardSides } from './http-sides.js';

const BATCH = 200;

/** Accepts what is written and drops it. */
class NoSocket extends Duplex {
  remoteAddress = '127.0.0.1';

  _read() {}

  _write(_chunk, _encoding, done) {
    done();
  }

  _writev(_chunks, done) {
    done();
  }

  setTimeout() {}
}

/** One request with the objects that Node's own server makes for it. Resolves when the response has ended. */
function respond(listener, socket, rawHeaders) {
  return new Promise((resolve, reject) => {
    const request = new IncomingMessage(socket);
    request.httpVersionMajor = 1;
    request.httpVersionMinor = 1;
    request.httpVersion = '1.1';
    request.method = 'GET';
    request.url = '/generate';
    request._addHeaderLines(rawHeaders, rawHeaders.length);
    request.push(null);
    request.complete = true;
    const response = new ServerResponse(request);
    response.shouldKeepAlive = true;
    response.assignSocket(socket);
    response.on('finish', () => {
      response.detachSocket(socket);
      if (response.statusCode === 200) resolve();
      else reject(new Error(`answered with ${response.statusCode}`));
    });
    listener(request, response);
  });
}

function side(name, framework, stack, guarantees) {
  return {
    name,
    guarantees,
    open: async ({ key }) => {
      const { listener } = await service(framework, stack, key);
      const headers = { Host: '127.0.0.1', 'Accept-Encoding': 'gzip, deflate', Origin: ORIGIN, 'X-API-Key': key };
      return { listener, socket: new NoSocket(), rawHeaders: Object.entries(headers).flat() };
    },
    run: async (_round, { listener, socket, rawHeaders }) => {
      const send = async () => {
        for (let i = 0; i < BATCH; i++) await respond(listener, socket, rawHeaders);
      };
      // While the others had their turn, V8 has shrunk the heap of this process.
      for (const end = performance.now() + 300; performance.now() < end; ) await send();
      let requests = 0;
      const before = process.cpuUsage();
      for (const end = performance.now() + 700; performance.now() < end; requests += BATCH) await send();
      const { user, system } = process.cpuUsage(before);
      return (user + system) / requests;
    },
  };
}

const COMMON = {
  unit: 'us',
  better: 'lower',
  ratioTo: 'bare',
  // V8 is still compiling for some ten thousand requests.
  warmUps: 3,
  onNode24: true,
  open: async () => ({ key: generateApiKey({ clientId: 'bench' }).key }),
};
const WHAT = 'Processor time of a request, with the objects of Node, on a socket that drops what is written.';

function fiveGuards(framework, name, atMost) {
  return {
    ...COMMON,
    name: `no network: ${name}`,
    about: `request id, security headers, CORS, an API key, a limit in front of a handler of ${name}. ${WHAT}`,
    goals: [{ side: 'gatewarden', minus: 'bare', atMost }],
    sides: fiveGuardsSides(side, framework, 'those of the row with a network'),
  };
}

export const rows = [
  fiveGuards('express', 'Express', 11.5),
  fiveGuards('fastify', 'Fastify', 7.5),
  fiveGuards('hono', 'Hono on Node', 10.5),
  {
    ...COMMON,
    name: 'no network: one guard',
    about: `One guard alone in front of a handler of Express. ${WHAT}`,
    goals: [
      { side: 'gatewarden: cors', minus: 'bare', atMost: 3 },
      { side: 'gatewarden: request id', minus: 'bare', atMost: 1.8 },
    ],
    sides: oneGuardSides(side),
  },
];
