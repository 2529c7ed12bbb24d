// A service as one file serves it on every runtime: all of it is created while the module loads, as it must be on Workers.
import {
  accessLog,
  apiKeys,
  audit,
  authenticate,
  clientIp,
  cors,
  dailyQuota,
  developmentBypass,
  failedAuthLimit,
  ingestToken,
  limit,
  memoryReplayStore,
  memoryStore,
  problemFormat,
  processTime,
  requestId,
  requireScope,
  securityHeaders,
  sharedSecret,
  signedRequest,
  slidingWindow,
  trustedHosts,
} from 'gatewarden';
import { duration, readEnv } from 'gatewarden/env';
import { createGuard } from 'gatewarden/hono';
import { jwt, jwtIssuer } from 'gatewarden/jwt';
import { Hono } from 'hono';

export const SECRET = 'runtime-secret-0123456789-0123456789';
export const API_KEY = 'runtime-key-0123456789-0123456789-01';

const { values } = readEnv({ WINDOW: duration({ default: '1m' }) }, {});
const store = memoryStore();
const issuer = jwtIssuer({ algorithm: 'HS256', key: SECRET, expiresIn: '1h' });

/** The service, for the `getConnInfo` of a runtime. */
export function createService(getConnInfo) {
  const guard = createGuard({ getConnInfo });
  const app = new Hono();
  const lines = [];
  const records = [];
  const logger = { info: (fields) => lines.push(fields), warn: (fields) => lines.push(fields), error: () => {} };
  const secret = sharedSecret({ secrets: [SECRET], scopes: ['generate'] });

  const few = limit({ by: 'client-ip', policies: slidingWindow({ limit: 100, window: '1m' }) });
  app.get('/without-client-ip', guard(requestId(), accessLog({ logger }), few), (context) => context.text(''));
  app.use(
    guard(
      requestId(),
      accessLog({ logger }),
      processTime(),
      problemFormat({}),
      securityHeaders(),
      clientIp(),
      trustedHosts({ hosts: ['127.0.0.1'] }),
      cors({ origin: 'https://app.example' }),
      audit({ sink: (record) => records.push(record) }),
    ),
  );
  app.get(
    '/generate',
    guard(
      authenticate([apiKeys({ keys: [API_KEY], bearer: false }), secret], {
        failedAuthLimit: failedAuthLimit({ limit: 10, window: '1m', store }),
      }),
      limit({
        by: 'principal',
        policies: [slidingWindow({ limit: 2, window: values.WINDOW }), dailyQuota({ limit: 100 })],
        store,
      }),
    ),
    (context) => {
      const { principal, clientIp: caller } = context.var.exchange;
      return context.json({ id: principal.id, ip: caller.ip });
    },
  );
  app.get('/scoped', guard(authenticate(secret), requireScope('admin')), (context) => context.text(''));
  app.post(
    '/signed',
    guard(
      authenticate(
        signedRequest({
          keys: [{ id: 'runtime', secret: SECRET }],
          replayStore: memoryReplayStore({ maxEntries: 10 }),
        }),
      ),
    ),
    async (context) => context.text(await context.req.text()),
  );
  app.get('/token', async (context) => context.text(await issuer.issue({ sub: 'alice' })));
  app.get('/jwt', guard(authenticate(jwt({ algorithms: ['HS256'], key: SECRET }))), (context) =>
    context.text(context.var.exchange.principal.id),
  );
  const bypass = developmentBypass({ enabled: true, env: {} });
  app.get('/bypass', guard(authenticate(bypass)), (context) => context.text(''));
  const open = ingestToken({ tokens: [], whenUnset: 'open' });
  app.get('/ingest', guard(authenticate(open)), (context) => context.text(''));
  app.get('/weak', guard(authenticate(apiKeys({ keys: ['short-key'] }))), (context) => context.text(''));
  const slow = apiKeys({ store: { findByDigest: () => new Promise(() => {}) }, timeout: '50ms' });
  app.get('/slow', guard(authenticate(slow)), (context) => context.text(''));
  app.get('/told', (context) => context.json({ lines, records }));
  return app;
}
