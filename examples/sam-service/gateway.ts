import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import {
  accessLog,
  apiKeys,
  authenticate,
  clientIp,
  type Exchange,
  type Logger,
  limit,
  type Problem,
  problemFormat,
  requestId,
  requireScope,
  securityHeaders,
  slidingWindow,
} from 'gatewarden';
import { gatewarden, guard } from 'gatewarden/fastify';
import { jwt, jwtIssuer } from 'gatewarden/jwt';
import { imageInspector, upload } from 'gatewarden/upload';
import sharp from 'sharp';
import { z } from 'zod';
import { openCounters } from './counters.js';
import { Filters, Preprocessing, summary, wanted } from './filters.js';
import { guideLines } from './guide-lines.js';
import type { Settings } from './settings.js';
import { counted, recentTraffic } from './traffic.js';
import { clientUsage } from './usage.js';
import { askWorker } from './worker-client.js';

const TYPES = ['image/jpeg', 'image/png', 'image/webp', 'image/tiff'] as const;
const MAX_PIXELS = 50_000_000;
/** How long each limit counts back, in the words of its refusals. */
const WINDOWS: Readonly<Record<string, string>> = { hourly: '1 hour', logins: '10 minutes' };

const Segment = z.strictObject({
  image: z.string(),
  filters: Filters.optional(),
  preprocessing: Preprocessing.optional(),
});
const Credentials = z.object({ username: z.string(), password: z.string() });

/** What a body is refused for that has no file where one must be. */
const NO_FILE = ['no file', 'not multipart', 'no boundary', 'a file in a field that takes none'];

/** The words that clients of this service know: `error`, and 400 for whatever is wrong with a file. */
function wordsOf(problem: Problem, megabytes: number): { readonly status?: number; readonly error: string } {
  switch (problem.code) {
    case 'credentials-missing':
      return { error: 'API key required' };
    case 'credentials-invalid':
      return { error: 'Invalid API key' };
    case 'quota-exceeded':
      return { error: `Rate limit exceeded: ${problem.limit} per ${WINDOWS[problem.policies[0]?.name ?? ''] ?? ''}` };
    case 'upload-too-large':
      return problem.part === 'file' || problem.part === 'body'
        ? { status: 400, error: `File too large (max ${megabytes}MB)` }
        : { status: 400, error: `Too much: ${problem.part} (max ${problem.limit})` };
    case 'upload-type-unsupported':
      return { status: 400, error: `Invalid file type: ${problem.found}` };
    case 'upload-undecodable':
      return { status: 400, error: 'Invalid image file' };
    case 'upload-malformed':
      return { error: NO_FILE.includes(problem.reason) ? 'No file provided' : `Invalid upload: ${problem.reason}` };
    default:
      return { error: problem.detail };
  }
}

/** The SAM service: keys and tokens with limits of their own, and no byte for the worker that is no whole image. */
export async function createGateway(
  settings: Settings,
  workerUrl: string,
  logger: Logger,
  now: () => number = () => performance.now(),
): Promise<FastifyInstance> {
  const { maxFileBytes, allowAnonymous, jwtSecret } = settings;
  const megabytes = Math.floor(maxFileBytes / 1_048_576);
  const worded = (problem: Problem) => {
    const { status, error } = wordsOf(problem, megabytes);
    return { ...(status === undefined ? {} : { status }), body: { error } };
  };
  const keyWords = problemFormat({ default: worded });
  const tokenWords = problemFormat({
    'credentials-invalid': () => ({ body: { error: 'Invalid token' } }),
    default: worded,
  });
  const issuer = jwtIssuer({
    algorithm: 'HS256',
    key: jwtSecret,
    issuer: 'sam-service',
    audience: 'sam-service',
    expiresIn: '24h',
  });

  // Each key has its own number of requests an hour; who has a token, or nothing, has the service's.
  const hourly = (units: number, by: 'principal' | 'client-ip') => [
    slidingWindow({ limit: units, window: '1h', name: 'hourly', by }),
  ];
  const known = new Map<number, ReturnType<typeof hourly>>();
  const anonymous = hourly(settings.defaultRateLimit, 'client-ip');
  function policiesOf({ principal }: Exchange) {
    if (principal === undefined) return anonymous;
    const units = principal.limits?.perHour ?? settings.authenticatedRateLimit;
    const policies = known.get(units) ?? hourly(units, 'principal');
    known.set(units, policies);
    return policies;
  }
  const { store, close: closeCounters } = openCounters(settings.redisUrl, logger);
  const traffic = recentTraffic(now);
  const usage = settings.usageTracking ? clientUsage() : undefined;
  const admitted = guard(
    authenticate(
      [
        apiKeys({ keys: settings.apiKeys }),
        jwt({ algorithms: ['HS256'], key: jwtSecret, issuer: 'sam-service', audience: 'sam-service' }),
      ],
      { optional: allowAnonymous },
    ),
    limit({ store, policies: policiesOf, legacyHeaders: true }),
    ({ principal }) => {
      usage?.request(principal?.id);
      return undefined;
    },
  );
  // Without an admin there is a key that nobody has: who asks gets 401, and never 403 for a key that may not ask.
  const hasAdmin = settings.apiKeys.some(({ scopes = [] }) => scopes.includes('admin'));
  const asAdmin = guard(
    authenticate(apiKeys({ keys: hasAdmin ? settings.apiKeys : [randomBytes(32).toString('hex')] })),
    requireScope('admin'),
  );
  const file = upload({
    files: { types: TYPES, maxBytes: maxFileBytes, fields: ['file'], maxPixels: MAX_PIXELS },
    decode: { sharp, blockOtherLoaders: true },
  });
  const inspectImage = imageInspector({
    types: TYPES,
    maxBytes: maxFileBytes,
    maxPixels: MAX_PIXELS,
    decode: { sharp, blockOtherLoaders: true },
  });

  const app = fastify({ bodyLimit: Math.ceil(maxFileBytes * 1.4) + 65_536 });
  app.addHook('onClose', closeCounters);
  await app.register(gatewarden, {
    guards: [
      // Not those who ask how things are: an idle service shall look idle.
      counted(traffic, (path) => path === '/health' || path.startsWith('/admin/')),
      (exchange: Exchange) =>
        (exchange.request.fieldLines('authorization').length > 0 ? tokenWords : keyWords)(exchange),
      requestId(),
      clientIp({ trust: settings.trustedProxies }),
      accessLog({ logger: guideLines(logger) }),
      securityHeaders(),
    ],
  });

  app.get('/health', () => ({ status: 'healthy' }));

  app.post('/segment_file', { onRequest: [admitted, guard(file)] }, async (request, reply) => {
    const { fields, files } = request.exchange.upload ?? { fields: new Map(), files: [] };
    const filters = Filters.safeParse(jsonIn(fields.get('filters')));
    const preprocessing = Preprocessing.safeParse(jsonIn(fields.get('preprocessing')));
    if (!filters.success) return bad(reply, 'filters', filters.error);
    if (!preprocessing.success) return bad(reply, 'preprocessing', preprocessing.error);
    return segmented(request, reply, await (files[0]?.buffer() ?? Buffer.alloc(0)), filters.data, preprocessing.data);
  });

  app.post('/segment', { onRequest: admitted }, async (request, reply) => {
    const parsed = Segment.safeParse(request.body);
    if (!parsed.success) return bad(reply, 'body', parsed.error);
    const { image, filters = {}, preprocessing = {} } = parsed.data;
    const inspected = await inspectImage(image);
    if (inspected.kind === 'refused') {
      // Nothing was spent on it.
      await request.exchange.admission?.settle(0);
      const { status = inspected.problem.status, body } = worded(inspected.problem);
      return reply.code(status).send(body);
    }
    return segmented(request, reply, inspected.content, filters, preprocessing);
  });

  app.post(
    '/auth/token',
    {
      onRequest: guard(
        limit({ store, by: 'client-ip', policies: [slidingWindow({ limit: 20, window: '10m', name: 'logins' })] }),
      ),
    },
    async (request, reply) => {
      const credentials = Credentials.safeParse(request.body);
      if (!credentials.success || !knows(settings.users, credentials.data)) {
        return reply.code(401).send({ error: 'Invalid credentials' });
      }
      const { username } = credentials.data;
      return { token: await issuer.issue({ sub: username, user_id: username }) };
    },
  );

  if (usage !== undefined) app.get('/admin/usage', { onRequest: asAdmin }, () => usage.all());

  app.get('/admin/metrics', { onRequest: asAdmin }, () => {
    const { active, requestRate, errorRate } = traffic.now();
    return {
      active_connections: active,
      // The stand-in has no GPU.
      gpu_utilization: null,
      request_rate: requestRate,
      error_rate: errorRate,
      top_users: usage?.top(10) ?? [],
    };
  });

  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ error: 'Not found' }));
  app.setErrorHandler((error: { statusCode?: number }, request, reply) => {
    const { statusCode = 500 } = error;
    if (statusCode === 413) return reply.code(400).send({ error: `File too large (max ${megabytes}MB)` });
    if (statusCode < 500) return reply.code(statusCode).send({ error: 'The request could not be read' });
    logger.error({ err: error, requestId: request.exchange?.requestId }, 'unhandled error');
    return reply.code(500).send({ error: 'Internal server error' });
  });
  return app;

  async function segmented(
    { exchange }: FastifyRequest,
    reply: FastifyReply,
    image: Buffer,
    filters: Filters,
    { normalize = false, blur }: Preprocessing,
  ): Promise<unknown> {
    const start = now();
    const query = new URLSearchParams({
      normalize: String(normalize),
      ...(blur === undefined ? {} : { blur: String(blur) }),
    });
    const answer = await askWorker(`${workerUrl}/segment?${query}`, image, exchange.signal, settings.maxGpuMs)
      .catch((error: unknown) => {
        logger.error({ err: error, requestId: exchange.requestId }, 'the worker does not answer');
        return 'unavailable' as const;
      })
      .finally(() => usage?.workerTook(exchange.principal?.id, now() - start));
    if (answer === 'unavailable') {
      return reply.code(503).header('Retry-After', '5').send({ error: 'Segmentation is not available' });
    }
    if (answer === 'refused') return reply.code(400).send({ error: 'Invalid image file' });
    const { width, height, masks } = answer;
    const kept = wanted(masks, filters, width, height);
    return {
      success: true,
      num_masks: kept.length,
      original_count: masks.length,
      masks: kept,
      filters_applied: filters,
      summary_statistics: summary(kept),
      processing_time: Math.round(now() - start) / 1000,
    };
  }
}

function jsonIn(values: readonly string[] | undefined): unknown {
  if (values === undefined) return {};
  try {
    return values.length === 1 ? JSON.parse(values[0] ?? '') : undefined;
  } catch {
    return undefined;
  }
}

function bad(reply: FastifyReply, what: string, error: z.ZodError): FastifyReply {
  const issues = error.issues.map(({ path, message }) =>
    [path.join('.'), message].filter((text) => text !== '').join(': '),
  );
  return reply.code(400).send({ error: `Invalid ${what}: ${issues.join('; ')}` });
}

/** In the same time whoever asks. */
function knows(users: ReadonlyMap<string, string>, { username, password }: z.infer<typeof Credentials>): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  const expected = users.get(username);
  return timingSafeEqual(digest(password), digest(expected ?? '')) && expected !== undefined;
}
