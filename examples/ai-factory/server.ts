import {
  accessLog,
  apiKeys,
  authenticate,
  clientIp,
  cors,
  type Guard,
  limit,
  problemFormat,
  processTime,
  requestId,
  securityHeaders,
  slidingWindow,
  trustedHosts,
} from 'gatewarden';
import { toMilliseconds } from 'gatewarden/env';
import { guard } from 'gatewarden/hono';
import { Hono } from 'hono';
import { z } from 'zod';
import type { Logger } from '../text-logger.js';
import { proxyOptions } from '../trusted-proxies.js';
import { type Docs, serveDocs } from './docs.js';
import { guideLines } from './guide-lines.js';
import { openApi } from './openapi.js';
import type { Settings } from './settings.js';

export const VERSION = '1.0.0';
const MAX_BODY_BYTES = 64 * 1024;

const TestRequest = z.object({
  test_name: z.string().min(1).max(200),
  iterations: z.int().min(1).max(1000).default(1),
  timeout: z.int().min(1).max(300).default(30),
});

/** The AI Factory server. The guards replace the guide's middleware, in its order and with its responses. */
export function createServer(settings: Settings, logger: Logger, docs: Docs): Hono {
  const { corsOrigins, rateLimit } = settings;
  const allowance = `${rateLimit.requests} requests per ${toMilliseconds(rateLimit.period) / 1000}s`;

  // Clients of this server expect FastAPI's error bodies: `detail` and a timestamp. They expect 403 for a bad key.
  const fastApiErrors = problemFormat({
    'credentials-missing': () => ({ status: 403, body: error('API key required') }),
    'credentials-invalid': () => ({ status: 403, body: error('Invalid API Key') }),
    'quota-exceeded': () => ({ body: error(`Rate limit exceeded. Max ${allowance}`) }),
    default: ({ detail }) => ({ body: error(detail) }),
  });

  const app = new Hono();
  app.use(
    guard(
      fastApiErrors,
      requestId(),
      clientIp(proxyOptions(settings.trustedProxies)),
      accessLog({ logger: guideLines(logger), start: true }),
      processTime(),
      securityHeaders({ preset: 'classic' }),
      trustedHosts({ hosts: settings.trustedHosts }),
      cors({
        origin: corsOrigins,
        credentials: true,
        methods: ['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS'],
        allowedHeaders: '*',
        maxAge: '10m',
      }),
    ),
  );

  app.get('/health', (c) => c.json({ status: 'healthy', timestamp: timestamp(), version: VERSION }));

  // The limit applies to every route below, but not to /health.
  if (rateLimit.enabled) {
    const { requests, period } = rateLimit;
    app.use(
      guard(
        limit({
          by: 'client-ip',
          policies: slidingWindow({ limit: requests, window: period, name: 'requests' }),
          // A request with a wrong key is charged too. Otherwise guessing keys would be free.
          refundOn: ['server-error'],
          legacyHeaders: true,
        }),
      ),
    );
  }
  app.get('/', (c) =>
    c.json({
      service: 'AI Factory Testing Server',
      version: VERSION,
      description: 'Runs tests for clients with an API key, which they send in X-API-Key.',
      documentation: ['/docs', '/redoc', '/openapi.json'],
      health: '/health',
    }),
  );
  serveDocs(app, docs, openApi(VERSION));

  const withKey: Guard = authenticate(apiKeys({ keys: settings.apiKeys, bearer: false }));

  app.get('/health/detailed', guard(withKey), (c) =>
    c.json({
      status: 'healthy',
      timestamp: timestamp(),
      version: VERSION,
      environment: settings.debug ? 'development' : 'production',
      rate_limiting: rateLimit.enabled ? 'enabled' : 'disabled',
      cors_origins: corsOrigins,
    }),
  );

  app.get('/protected', guard(withKey), (c) =>
    c.json({
      message: 'Access granted to protected resource',
      // Only the holder of the key sees its beginning, as short as in the guide.
      api_key: `${(c.req.header('X-API-Key') ?? '').slice(0, 11)}...`,
      timestamp: timestamp(),
    }),
  );

  app.post('/api/test', guard(withKey), async (c) => {
    const text = await bodyText(c.req.raw);
    if (text === undefined) return c.json(error('The body is too large.'), 413);
    const body = parseJson(text);
    if (body === undefined) {
      const detail = [{ type: 'json_invalid', loc: ['body'], msg: 'The body is not JSON.' }];
      return c.json({ detail, timestamp: timestamp() }, 422);
    }
    const parsed = TestRequest.safeParse(body);
    if (!parsed.success) {
      const detail = parsed.error.issues.map(({ code, path, message }) => ({
        type: code,
        loc: ['body', ...path.map(String)],
        msg: message,
      }));
      return c.json({ detail, timestamp: timestamp() }, 422);
    }
    const now = timestamp();
    return c.json({
      success: true,
      test_id: `test_${now.slice(0, 19).replace(/[-:]/g, '').replace('T', '_')}`,
      received_data: parsed.data,
      timestamp: now,
    });
  });

  app.get('/api/status', guard(withKey), (c) =>
    c.json({
      api_status: 'running',
      authentication: 'enabled',
      rate_limiting: { enabled: rateLimit.enabled, limit: allowance },
      cors: { allowed_origins: corsOrigins },
      timestamp: timestamp(),
    }),
  );

  app.notFound((c) => c.json(error('Not Found'), 404));
  app.onError((failure, c) => {
    logger.error({ err: failure, requestId: c.var.exchange?.requestId }, 'unhandled error');
    return c.json(error('Internal server error'), 500);
  });
  return app;
}

function error(detail: string) {
  return { detail, timestamp: timestamp() };
}

/** The time in UTC as Python's `isoformat` writes it. This server's clients parse that form. */
function timestamp(): string {
  return `${new Date().toISOString().slice(0, -1)}000`;
}

/** The value, or undefined if the text is not JSON. No JSON text has the value undefined. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The body as text, or undefined if it is larger than this server accepts. */
async function bodyText(request: Request): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
