// A whole chain in front of a handler: security headers, client IP, a bearer secret, a request limit. Both sides receive
// the same new node:http request and response. The first row is the cost of creating these. All other rows include it.
import { createHash, timingSafeEqual } from 'node:crypto';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import express from 'express';
import { rateLimit } from 'express-rate-limit';
import { authenticate, clientIp, limit, memoryStore, securityHeaders, sharedSecret, slidingWindow } from 'gatewarden';
import { guard } from 'gatewarden/express';
import helmet from 'helmet';
import proxyaddr from 'proxy-addr';
import { nanoseconds, table } from './measure.js';

const SECRET = 'a-shared-secret-of-more-than-32-characters';
const WINDOW_MS = 60_000;
const LIMIT = 1_000_000_000;

const socket = new Socket();
Object.defineProperty(socket, 'remoteAddress', { value: '127.0.0.1' });

// express-rate-limit calls Express' `append`. Setting Express' prototype on every object, as Express does, would cost more
// than everything that is measured here.
for (const name of ['append', 'get', 'set']) ServerResponse.prototype[name] = express.response[name];

function exchange(i) {
  const req = new IncomingMessage(socket);
  req.method = 'POST';
  req.url = '/generate/text';
  const address = `10.1.${(i >> 8) & 7}.${i & 255}`;
  const headers = {
    host: 'api.example.com',
    'user-agent': 'python-requests/2.32.3',
    accept: '*/*',
    'accept-encoding': 'gzip, deflate',
    connection: 'keep-alive',
    'content-type': 'application/json',
    'content-length': '42',
    authorization: `Bearer ${SECRET}`,
    'x-forwarded-for': address,
  };
  req.headers = headers;
  req.rawHeaders = Object.entries(headers).flat();
  return [req, new ServerResponse(req)];
}

function chain(...middleware) {
  return async (calls) => {
    for (let i = 0; i < calls; i++) {
      const [req, res] = exchange(i);
      for (const handle of middleware) {
        let passed = false;
        const done = handle(req, res, (error) => {
          if (error) throw error;
          passed = true;
        });
        if (!passed) await done;
        if (!passed) throw new Error(`refused: ${res.statusCode}`);
      }
      res.emit('close');
    }
  };
}

const trusted = proxyaddr.compile(['loopback']);
const expected = createHash('sha256').update(SECRET).digest();

const peers = {
  helmet: helmet(),
  clientIp: (req, _res, next) => {
    req.ip = proxyaddr(req, trusted);
    next();
  },
  secret: (req, _res, next) => {
    const token = req.headers.authorization?.replace(/^Bearer /, '') ?? '';
    if (timingSafeEqual(createHash('sha256').update(token).digest(), expected)) next();
  },
  // Its validation of the Express configuration needs an app.
  limit: rateLimit({
    windowMs: WINDOW_MS,
    limit: LIMIT,
    standardHeaders: 'draft-8',
    legacyHeaders: false,
    validate: false,
  }),
};

const ours = {
  headers: securityHeaders(),
  clientIp: clientIp({ trust: ['loopback'] }),
  secret: authenticate(sharedSecret({ secrets: [SECRET] })),
  limit: limit({
    store: memoryStore(),
    by: 'client-ip',
    policies: [slidingWindow({ limit: 500, window: '1ms' })],
  }),
};

const options = { calls: 20_000 };
table('a chain of four guards', [
  ['only the request and response', await nanoseconds(chain(), options)],
  ['gatewarden: all four', await nanoseconds(chain(guard(...Object.values(ours))), options)],
  ['helmet + proxy-addr + key check + express-rate-limit', await nanoseconds(chain(...Object.values(peers)), options)],
]);
table('each guard alone', [
  ['only the request and response', await nanoseconds(chain(), options)],
  ['gatewarden securityHeaders', await nanoseconds(chain(guard(ours.headers)), options)],
  ['helmet', await nanoseconds(chain(peers.helmet), options)],
  ['gatewarden clientIp', await nanoseconds(chain(guard(ours.clientIp)), options)],
  ['proxy-addr', await nanoseconds(chain(peers.clientIp), options)],
  ['gatewarden authenticate(sharedSecret)', await nanoseconds(chain(guard(ours.secret)), options)],
  ['a simple key check', await nanoseconds(chain(peers.secret), options)],
  ['gatewarden clientIp + limit', await nanoseconds(chain(guard(ours.clientIp, ours.limit)), options)],
  ['proxy-addr + express-rate-limit', await nanoseconds(chain(peers.clientIp, peers.limit), options)],
]);
process.exit(0);
