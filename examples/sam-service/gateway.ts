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
  memoryStore,
  meterUsage,
  type Problem,
  type ProblemFormats,
  problemFormat,
  type QuotaPolicy,
  requestId,
  requireScope,
  securityHeaders,
  slidingWindow,
  trustedHosts,
} from 'gatewarden';
import { gatewarden, guard } from 'gatewarden/fastify';
import { jwt, jwtIssuer } from 'gatewarden/jwt';
import { metrics, metricsEndpoint } from 'gatewarden/metrics';
import { imageInspector, upload, uploadOf } from 'gatewarden/upload';
import { deadline, JobError, type JobFailure, worker } from 'gatewarden/worker';
import * as client from 'prom-client';
import sharp from 'sharp';
import { z } from 'zod';
import { openCounters, openLedger } from '../counters.js';
import { gpuPolicies, logWorker } from '../gpu.js';
import { ofClients, operatorDesk } from '../operator-desk.js';
import { proxyOptions } from '../trusted-proxies.js';
import { waitingQueue } from '../waiting.js';
import type { Segmentation } from '../workers/segmentation.js';
import { Filters, filterMasks, Preprocessing, summary } from './filters.js';
import { gpuBusy } from './gpu-busy.js';
import { guideLines } from './guide-lines.js';
import type { Settings } from './settings.js';
import { countTraffic, recentTraffic } from './traffic.js';
import { clientUsage, topClients } from './usage.js';

const TYPES = ['image/jpeg', 'image/png', 'image/webp', 'image/tiff'] as const;
const MAX_PIXELS = 50_000_000;
/** The window of each policy, as its refusals show it. */
const WINDOWS: Readonly<Record<string, string>> = { hourly: '1 hour', logins: '10 minutes' };

const Segment = z.strictObject({
  image: z.string(),
  filters: Filters.optional(),
  preprocessing: Preprocessing.optional(),
});
const Credentials = z.object({ username: z.string(), password: z.string() });

/** What is segmented, once it is known to be complete. */
interface SegmentJob {
  readonly image: Buffer;
  readonly filters: Filters;
  readonly preprocessing: Preprocessing;
}
declare module 'gatewarden' {
  interface ExchangeLocals {
    segmentJob?: SegmentJob;
  }
}

/** The reasons of a body that has no file in the field `file`. */
const NO_FILE = [
  'the upload contains no file',
  'the Content-Type is not multipart/form-data',
  'the Content-Type has no multipart boundary',
  'a file was sent in a field that does not accept files',
];

/** The error bodies that clients of this service expect: `error`, and 400 for every bad file. */
function errorOf(problem: Problem, megabytes: number): { readonly status?: number; readonly error: string } {
  switch (problem.code) {
    case 'credentials-missing':
      return { error: 'API key required' };
    case 'credentials-invalid':
      return { error: 'Invalid API key' };
    case 'quota-exceeded': {
      const [{ name, limit } = { name: '', limit: 0 }] = problem.policies;
      if (name === 'gpu-seconds') return { error: `Rate limit exceeded: ${limit / 1000} GPU seconds per day` };
      return { error: `Rate limit exceeded: ${limit} per ${WINDOWS[name] ?? ''}` };
    }
    case 'capacity-exceeded':
    case 'queue-full':
    case 'queue-timeout':
    case 'not-ready':
      return { error: 'Segmentation is not available' };
    case 'upload-too-large':
      return problem.part === 'file' || problem.part === 'body'
        ? { status: 400, error: `File too large (max ${megabytes}MB)` }
        : { status: 400, error: `Upload too large: ${problem.part} (max ${problem.limit})` };
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

/** The SAM service: each key and user has its own limit, and the worker only receives complete images. */
export async function createGateway(
  settings: Settings,
  workerUrl: string,
  logger: Logger,
  now: () => number = () => performance.now(),
): Promise<FastifyInstance> {
  const { maxFileBytes, allowAnonymous, jwtSecret } = settings;
  const megabytes = Math.floor(maxFileBytes / 1_048_576);
  const toErrorBody = (problem: Problem) => {
    const { status, error } = errorOf(problem, megabytes);
    return { ...(status === undefined ? {} : { status }), body: { error } };
  };
  const formats: ProblemFormats = {
    'credentials-missing': toErrorBody,
    'credentials-invalid': toErrorBody,
    'quota-exceeded': toErrorBody,
    'capacity-exceeded': toErrorBody,
    'queue-full': toErrorBody,
    'queue-timeout': toErrorBody,
    'not-ready': toErrorBody,
    'upload-too-large': toErrorBody,
    'upload-type-unsupported': toErrorBody,
    'upload-undecodable': toErrorBody,
    'upload-malformed': toErrorBody,
    default: ({ detail }) => ({ body: { error: detail } }),
  };
  const keyErrors = problemFormat(formats);
  const tokenErrors = problemFormat({
    ...formats,
    'credentials-missing': () => ({ body: { error: 'Token required' } }),
    'credentials-invalid': () => ({ body: { error: 'Invalid token' } }),
    'credentials-malformed': () => ({ status: 401, body: { error: 'Invalid token' } }),
  });
  const issuer = jwtIssuer({
    algorithm: 'HS256',
    key: jwtSecret,
    issuer: 'sam-service',
    audience: 'sam-service',
    expiresIn: '24h',
  });

  // Each key may have its own number of requests per hour. Tokens and anonymous callers have the service's defaults.
  const hourly = (units: number, by: 'principal' | 'client-ip') =>
    slidingWindow({ limit: units, window: '1h', name: 'hourly', by });
  const policyByLimit = new Map<number, QuotaPolicy>();
  const anonymous = hourly(settings.defaultRateLimit, 'client-ip');
  const policyOf = ({ principal }: Exchange) =>
    principal === undefined ? anonymous : policyOfUnits(principal.limits?.perHour);
  const policyOfClient = (id: string) =>
    policyOfUnits(settings.apiKeys.find(({ clientId }) => clientId === id)?.limits?.perHour);
  function policyOfUnits(units: number = settings.authenticatedRateLimit) {
    const policy = policyByLimit.get(units) ?? hourly(units, 'principal');
    policyByLimit.set(units, policy);
    return policy;
  }
  const register = new client.Registry();
  const measured = metrics({ client, register });
  const counters = openCounters(
    settings.redisUrl,
    'sam-service:',
    logger,
    settings.redisUrl === undefined ? undefined : measured.storeEvents(),
    settings.dataDirectory,
  );
  const traffic = recentTraffic(now);
  const ledger = settings.usageTracking
    ? openLedger(counters.client, 'sam-service-usage:', settings.dataDirectory)
    : undefined;
  // Slots and GPU time are counted together, for all routes.
  const gpuStore = counters.store ?? memoryStore();
  const busy = gpuBusy(settings.gpuSlots, now);
  const logEvent = logWorker(logger);
  const measureEvent = measured.workerEvents();
  const gpu = worker({
    url: workerUrl,
    deadline: settings.maxGpuTime,
    ledger,
    onEvent(event) {
      logEvent(event);
      measureEvent(event);
    },
  });
  const gpuOfClients = gpuPolicies(settings, 'principal');
  const gpuOfOthers = gpuPolicies(settings, 'client-ip');
  const forGpu = limit({
    store: gpuStore,
    by: 'principal',
    policies: ({ principal }) => (principal === undefined ? gpuOfOthers : gpuOfClients),
    // Clients are served alike while they wait, however many images each has.
    queue: waitingQueue(settings, 'principal-or-client-ip'),
  });
  // After the whole image is there, so that no slot waits for a slow upload.
  const forJob = guard(forGpu, deadline({ max: settings.maxGpuTime }));
  const forRequests = limit({
    store: counters.store,
    by: 'principal',
    policies: policyOf,
    legacyHeaders: true,
    // Nothing has reached the worker when an upload is refused.
    refundOn: ['refused', 'refused-after-body', 'server-error'],
  });
  const desk =
    settings.deskKey === undefined
      ? undefined
      : operatorDesk({
          name: 'SAM service',
          key: settings.deskKey,
          clientIp: proxyOptions(settings.trustedProxies),
          redis: counters.client,
          prefix: 'sam-service:operator:',
          directory: settings.dataDirectory,
          by: ({ principal }) => principal?.id ?? 'anonymous',
          limits: {
            hourly: ofClients(forRequests, policyOfClient),
            ...(gpuOfClients.length > 1 ? { gpu: ofClients(forGpu, () => gpuOfClients) } : {}),
          },
          slots: [limit({ store: gpuStore, by: 'global', policies: gpuOfClients.slice(0, 1) })],
          worker: gpu,
          ledger,
          logger,
        });
  const admit = guard(
    ...(ledger === undefined ? [] : [meterUsage({ ledger })]),
    authenticate(
      [
        apiKeys({ keys: settings.apiKeys }),
        jwt({ algorithms: ['HS256'], key: jwtSecret, issuer: 'sam-service', audience: 'sam-service' }),
      ],
      { optional: allowAnonymous },
    ),
    ...(desk === undefined ? [] : [desk.controls]),
    gpu.ready(),
    forRequests,
  );
  // Without an admin key, a random key is accepted in its place, so every request is a 401 and never a 403.
  const hasAdmin = settings.apiKeys.some(({ scopes = [] }) => scopes.includes('admin'));
  const adminOnly = guard(
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
  app.addHook('preClose', async () => desk?.page.close());
  app.addHook('onClose', async () => {
    // If Redis is away, what was collected of the last second is lost.
    await ledger?.close()?.catch(() => undefined);
    await counters.close();
  });
  await app.register(gatewarden, {
    guards: [
      measured,
      ...(desk === undefined ? [] : [desk.page.watch()]),
      // Monitoring requests are not counted, so that an idle service looks idle.
      countTraffic(traffic, (path) => ['/health', '/metrics'].includes(path) || path.startsWith('/admin/')),
      (exchange: Exchange) => (sendsOnlyToken(exchange) ? tokenErrors : keyErrors)(exchange),
      requestId(),
      clientIp(proxyOptions(settings.trustedProxies)),
      accessLog({
        logger: guideLines(logger),
        start: { credentials: ({ request }) => request.fieldLines('x-api-key')[0] },
      }),
      securityHeaders(),
      ...(settings.trustedHosts.length === 0 ? [] : [trustedHosts({ hosts: settings.trustedHosts })]),
      ...(desk === undefined ? [] : [desk.page]),
    ],
  });

  app.get('/', () => ({
    service: 'SAM service',
    description: 'Finds the segments of images, for clients with an API key or a token.',
    endpoints: ['POST /segment_file', 'POST /segment', 'POST /auth/token', 'GET /health'],
    documentation: 'docs/examples/sam-service.md',
  }));

  app.get('/health', () => ({ status: 'healthy' }));

  app.post('/segment_file', { onRequest: [admit, guard(file)], preHandler: [readFile, forJob] }, segmented);

  app.post('/segment', { onRequest: admit, preHandler: [readBody, forJob] }, segmented);

  app.post(
    '/auth/token',
    {
      onRequest: guard(
        limit({
          store: counters.store,
          by: 'client-ip',
          policies: slidingWindow({ limit: 20, window: '10m', name: 'logins' }),
        }),
      ),
    },
    async (request, reply) => {
      const credentials = Credentials.safeParse(request.body);
      if (!credentials.success || !hasPassword(settings.users, credentials.data)) {
        return reply.code(401).send({ error: 'Invalid credentials' });
      }
      const { username } = credentials.data;
      return { token: await issuer.issue({ sub: username, user_id: username }) };
    },
  );

  if (ledger !== undefined) app.get('/admin/usage', { onRequest: adminOnly }, () => clientUsage(ledger));

  app.get('/admin/metrics', { onRequest: adminOnly }, async () => {
    const { active, requestRate, errorRate } = traffic.now();
    return {
      active_connections: active,
      // A worker of the contract does not report its memory. How long its slots were used is known here.
      gpu_utilization: { memory_used: null, memory_total: null, utilization_percent: busy.percent() },
      request_rate: requestRate,
      error_rate: errorRate,
      top_users: ledger === undefined ? [] : await topClients(ledger, 'requests', 10),
    };
  });

  app.get('/metrics', { onRequest: [adminOnly, guard(metricsEndpoint({ register }))] }, () => undefined);

  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ error: 'Not found' }));
  app.setErrorHandler((error: { statusCode?: number }, request, reply) => {
    const { statusCode = 500 } = error;
    if (statusCode === 413) return reply.code(400).send({ error: `File too large (max ${megabytes}MB)` });
    if (statusCode < 500) return reply.code(statusCode).send({ error: 'The request could not be read' });
    logger.error({ err: error, requestId: request.exchange?.requestId }, 'unhandled error');
    return reply.code(500).send({ error: 'Internal server error' });
  });
  return app;

  async function readFile({ exchange }: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const { fields, files } = uploadOf(exchange);
    const filters = Filters.safeParse(parseField(fields.get('filters')));
    const preprocessing = Preprocessing.safeParse(parseField(fields.get('preprocessing')));
    if (!filters.success) return sendInvalid(reply, 'filters', filters.error);
    if (!preprocessing.success) return sendInvalid(reply, 'preprocessing', preprocessing.error);
    const image = await (files[0]?.buffer() ?? Buffer.alloc(0));
    exchange.locals.segmentJob = { image, filters: filters.data, preprocessing: preprocessing.data };
    return undefined;
  }

  async function readBody({ exchange, body }: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const parsed = Segment.safeParse(body);
    if (!parsed.success) return sendInvalid(reply, 'body', parsed.error);
    const { image, filters = {}, preprocessing = {} } = parsed.data;
    const inspected = await inspectImage(image);
    if (inspected.kind === 'refused') {
      // The worker did nothing, so the charge is refunded.
      await exchange.admission?.settle(0);
      const { status = inspected.problem.status, body } = toErrorBody(inspected.problem);
      return reply.code(status).send(body);
    }
    exchange.locals.segmentJob = { image: inspected.content, filters, preprocessing };
    return undefined;
  }

  async function segmented({ exchange }: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const job = exchange.locals.segmentJob;
    if (job === undefined) throw new Error('no image was read');
    const start = now();
    const result = await ask(exchange, job);
    if ('kind' in result) return sendFailure(exchange, reply, result);
    const { width, height, masks } = result;
    const selected = filterMasks(masks, job.filters, width, height);
    return {
      success: true,
      num_masks: selected.length,
      original_count: masks.length,
      masks: selected,
      filters_applied: job.filters,
      summary_statistics: summary(selected),
      processing_time: Math.round(now() - start) / 1000,
    };
  }

  async function ask(exchange: Exchange, { image, preprocessing }: SegmentJob): Promise<Segmentation | JobFailure> {
    const { normalize = false, blur } = preprocessing;
    const query = new URLSearchParams({
      normalize: String(normalize),
      ...(blur === undefined ? {} : { blur: String(blur) }),
    });
    const ended = busy.begin();
    try {
      const result = await gpu.run(exchange, { path: `/segment?${query}`, body: image });
      if (result.kind !== 'done') return result;
      return (await result.response.json()) as Segmentation;
    } catch (error) {
      if (error instanceof JobError) return error.failure;
      throw error;
    } finally {
      ended();
    }
  }

  function sendFailure(
    { requestId }: Exchange,
    reply: FastifyReply,
    { kind, status, reason }: JobFailure,
  ): FastifyReply {
    if (kind === 'failed' && status !== undefined && status < 500) {
      return reply.code(400).send({ error: 'Invalid image file' });
    }
    if (kind !== 'cancelled') logger.error({ requestId, status, reason }, `no result of the worker: ${kind}`);
    return reply.code(503).header('Retry-After', '5').send({ error: 'Segmentation is not available' });
  }
}

function sendsOnlyToken({ request }: Exchange): boolean {
  return request.fieldLines('authorization').length > 0 && request.fieldLines('x-api-key').length === 0;
}

function parseField(values: readonly string[] | undefined): unknown {
  if (values === undefined) return {};
  try {
    return values.length === 1 ? JSON.parse(values[0] ?? '') : undefined;
  } catch {
    return undefined;
  }
}

function sendInvalid(reply: FastifyReply, part: string, error: z.ZodError): FastifyReply {
  const issues = error.issues.map(({ path, message }) =>
    [path.join('.'), message].filter((text) => text !== '').join(': '),
  );
  return reply.code(400).send({ error: `Invalid ${part}: ${issues.join('; ')}` });
}

/** Compares digests, so that the time depends neither on the name nor on the password. */
function hasPassword(users: ReadonlyMap<string, string>, { username, password }: z.infer<typeof Credentials>): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  const expected = users.get(username);
  return timingSafeEqual(digest(password), digest(expected ?? '')) && expected !== undefined;
}
