import express, { type ErrorRequestHandler, type Express, type Request, type Response } from 'express';
import {
  accessLog,
  addressKey,
  authenticate,
  clientIp,
  dailyQuota,
  type Exchange,
  type LimitStore,
  limit,
  memoryStore,
  problem,
  problemFormat,
  type QueuePlace,
  type Reply,
  renderReply,
  requestId,
  securityHeaders,
  sequence,
  sharedSecret,
  slidingWindow,
  trustedHosts,
} from 'gatewarden';
import { toMilliseconds } from 'gatewarden/env';
import { guard } from 'gatewarden/express';
import { upload, uploadOf } from 'gatewarden/upload';
import { deadline, JobError, type JobFailure, type JobRequest, worker } from 'gatewarden/worker';
import sharp from 'sharp';
import { z } from 'zod';
import type { Counters } from '../counters.js';
import { gpuPolicies, logWorker } from '../gpu.js';
import { operatorDesk } from '../operator-desk.js';
import type { Logger } from '../text-logger.js';
import { proxyOptions } from '../trusted-proxies.js';
import { waitingQueue } from '../waiting.js';
import { EventStream, wantsEvents } from './event-stream.js';
import type { ModelFile, ModelFiles } from './model-files.js';
import { isOneDay, type Settings } from './settings.js';

const MAIN_SERVER = 'main-server';

const GenerateText = z.object({
  prompt: z
    .string()
    .max(1000)
    .refine((text) => text.trim() !== '', 'must not be empty'),
  user_id: z.string().max(200).nullish(),
  grid_size: z.int().min(8).max(128).default(32),
});

const GenerateImage = z.object({
  user_id: z.string().max(200).nullish(),
  grid_size: z.coerce.number().int().min(8).max(128).default(32),
});

const IMAGE_TYPES = ['image/png', 'image/jpeg', 'image/webp'] as const;

/** The clients of this service were written for FastAPI: they read errors in `detail`. */
const fastApiErrors = problemFormat({
  // In the guide, a malformed header is a 401, like a wrong secret.
  'credentials-malformed': ({ detail }) => ({ status: 401, body: { detail } }),
  'quota-exceeded': ({ policies: [policy], retryAt }) => ({
    body: {
      detail: {
        error: 'rate_limit_exceeded',
        message:
          policy?.name === 'generations'
            ? `Rate limit exceeded: ${policy.limit} generations per IP.`
            : 'Rate limit exceeded: the GPU time of this IP is used up for today.',
        limit: policy?.limit,
        remaining: policy?.remaining,
        reset_time: Math.ceil((retryAt ?? policy?.resetAt ?? 0) / 1000),
      },
    },
  }),
  'capacity-exceeded': () => ({ body: { detail: 'All GPUs are in use. Try again later.' } }),
  'not-ready': () => ({ body: { detail: 'The 3D models are still loading. Try again later.' } }),
  'worker-unavailable': () => ({ body: { detail: 'The 3D models are not available. Try again later.' } }),
  'worker-failed': () => ({ body: { detail: 'The generation failed.' } }),
  'deadline-exceeded': () => ({ body: { detail: 'The generation took too long.' } }),
  default: ({ detail }) => ({ body: { detail } }),
});

declare module 'gatewarden' {
  interface ExchangeLocals {
    /** Receives the places of a request whose client asks for events. */
    onPlace?: (place: QueuePlace) => void;
  }
}

/** What `limit` answers while its store cannot be reached, for the routes that read the store themselves. */
const STORE_UNAVAILABLE = problem('store-unavailable');

/**
 * The Point-E gateway: authenticates the main server, limits each end user by address, and runs jobs on the worker. `store`
 * counts the generations. If it is undefined, the memory of this process does.
 */
export function createGateway(
  settings: Settings,
  workerUrl: string,
  files: ModelFiles,
  store: LimitStore = memoryStore(),
  logger: Logger,
  redis?: Counters['client'],
): Express {
  const { limitPerIp, window } = settings;
  const gpu = worker({ url: workerUrl, deadline: settings.maxGpuTime, onEvent: logWorker(logger) });
  const mainServer = authenticate(sharedSecret({ secrets: settings.secrets, clientId: MAIN_SERVER }));
  // The main server has authenticated, so the address that it forwards is trusted.
  const endUser = clientIp({
    ...proxyOptions(settings.trustedProxies),
    forwarder: (principal) => principal.id === MAIN_SERVER,
  });
  const generations = isOneDay(window)
    ? dailyQuota({ limit: limitPerIp, name: 'generations' })
    : slidingWindow({ limit: limitPerIp, window, name: 'generations' });
  const gpuUse = gpuPolicies(settings, 'client-ip');
  const jobDeadline = deadline({ max: settings.maxGpuTime });
  // While no slot is free, requests wait. Users are served alike, however many requests they have.
  const queue = waitingQueue(settings, 'client-ip', (place, { locals }) => locals.onPlace?.(place));
  // A prompt is there at once: one generation, a slot and the GPU time are admitted in one step.
  const forPrompt = limit({ store, by: 'client-ip', policies: [generations, ...gpuUse], queue });
  const admitPrompt = sequence(forPrompt, jobDeadline);
  // An image is counted before it is read. The slot does not wait for a slow upload.
  const beforeImage = limit({
    store,
    by: 'client-ip',
    policies: generations,
    // Nothing has reached the worker when an upload is refused.
    refundOn: ['refused', 'refused-after-body', 'server-error'],
  });
  const forImage = limit({ store, by: 'client-ip', policies: gpuUse, queue });
  const desk =
    settings.operatorKey === undefined
      ? undefined
      : operatorDesk({
          name: 'Point-E',
          key: settings.operatorKey,
          clientIp: proxyOptions(settings.trustedProxies),
          redis,
          prefix: 'point-e:operator:',
          directory: settings.dataDirectory,
          // The main server sends the requests of all end users, who are known by their addresses.
          by: ({ clientIp }) => clientIp?.key ?? 'unknown',
          limits: { generations: beforeImage, ...(gpuUse.length > 1 ? { gpu: forImage } : {}) },
          slots: [limit({ store, by: 'global', policies: gpuUse.slice(0, 1) })],
          worker: gpu,
          logger,
        });
  const controls = desk === undefined ? [] : [desk.controls];

  const app = express();
  app.disable('x-powered-by');
  app.use(
    guard(
      ...(desk === undefined ? [] : [desk.page.watch()]),
      fastApiErrors,
      requestId(),
      accessLog({ logger, skip: ({ request }) => /^\/(?:health|ready)(?:\?|$)/.test(request.url) }),
      securityHeaders(),
      ...(settings.trustedHosts.length === 0 ? [] : [trustedHosts({ hosts: settings.trustedHosts })]),
      ...(desk === undefined ? [] : [desk.page]),
    ),
  );

  app.get('/', (_req, res) => {
    res.json({
      service: 'Point-E gateway',
      description: 'Makes 3D models of prompts and images, for a main server that knows the secret.',
      endpoints: ['POST /generate/text', 'POST /generate/image', 'GET /usage/{ip}', 'GET /health', 'GET /ready'],
      documentation: 'docs/examples/point-e.md',
    });
  });

  app.get('/health', async (_req, res) => {
    const { isUp: ready } = await gpu.status();
    res.json({ status: ready ? 'healthy' : 'loading', models_ready: ready, service: 'point-e' });
  });

  app.get('/ready', async (_req, res) => {
    const { isUp, retryAfter } = await gpu.status();
    if (isUp) res.json({ ready: true });
    else res.status(503).set('Retry-After', String(retryAfter)).json({ ready: false });
  });

  app.post(
    '/generate/text',
    guard(mainServer, endUser, ...controls, gpu.ready()),
    express.json({ limit: '64kb', inflate: false }),
    validated,
    (req, res, next) => (wantsEvents(req) ? streamText(req, res) : next()),
    // Only a valid request is charged.
    guard(forPrompt, jobDeadline),
    (req, res) => generate(req, res, ...textJob(res)),
  );

  app.post(
    '/generate/image',
    guard(
      mainServer,
      endUser,
      ...controls,
      gpu.ready(),
      beforeImage,
      upload({
        files: { types: IMAGE_TYPES, maxBytes: '20mb', fields: ['file'] },
        decode: { sharp, blockOtherLoaders: true },
      }),
    ),
    validatedImage,
    guard(forImage, jobDeadline),
    async (req, res) => {
      const { grid_size, user_id } = res.locals.body as z.infer<typeof GenerateImage>;
      const [image] = uploadOf(req.exchange).files;
      const body = (await image?.buffer()) ?? Buffer.alloc(0);
      const headers = { 'Content-Type': image?.type ?? '', 'X-Grid-Size': String(grid_size) };
      await generate(req, res, { path: '/generate/image', headers, body }, user_id ?? null);
    },
  );

  app.get('/usage/:ip', guard(mainServer), async (req, res) => {
    const key = addressKey(req.params.ip);
    const [quota] = key === undefined ? [] : await beforeImage.peek(key);
    if (quota === undefined) {
      res.status(422).json({ detail: [{ type: 'ip_address', loc: ['path', 'ip'], msg: 'must be an IP address' }] });
      return;
    }
    res.json({
      ip: req.params.ip,
      used: quota.limit - quota.remaining,
      limit: quota.limit,
      remaining: quota.remaining,
      window_seconds: toMilliseconds(window) / 1000,
      reset_time: Math.ceil(quota.resetAt / 1000),
    });
  });

  app.get('/files/:name', guard(mainServer), (req, res) => {
    const path = files.find(req.params.name);
    if (path === undefined) res.status(404).json({ detail: 'The file does not exist or has expired.' });
    else if (req.query.download === undefined) res.type('application/octet-stream').sendFile(path);
    else res.download(path, req.params.name);
  });

  app.use((_req, res) => {
    res.status(404).json({ detail: 'Not Found' });
  });
  app.use(respondToError(logger));
  return app;

  /** Answers with events: the place in the queue, that the job runs, and what a client without events gets at the end. */
  async function streamText(req: Request, res: Response): Promise<void> {
    const { exchange } = req;
    const events = new EventStream(res);
    exchange.onEnd(() => events.close());
    exchange.locals.onPlace = ({ position, expectedWait }) => {
      const seconds = expectedWait === undefined ? null : Math.ceil(expectedWait / 1000);
      events.send('queue', { state: 'waiting', position, expected_wait_seconds: seconds });
    };
    const fail = (reply: Reply): void => {
      // Before the first event, the status is the answer, as without events.
      if (!events.hasBegun) sendReply(exchange, res, reply);
      else events.end('error', JSON.parse(String(renderReply(reply, exchange).body)));
    };
    const reply = await admitPrompt(exchange);
    if (reply !== undefined) return fail(reply);
    if (exchange.outcome !== undefined) return;
    events.run();
    try {
      const made = await make(req, ...textJob(res));
      if (made === undefined) return;
      if ('failure' in made) return fail(made.failure.reply);
      events.end('done', made.model);
    } catch (error) {
      logger.error({ err: error, requestId: exchange.requestId }, 'unhandled error');
      events.end('error', { detail: 'Internal Server Error' });
    }
  }

  async function generate(req: Request, res: Response, job: JobRequest, user_id: string | null): Promise<void> {
    const made = await make(req, job, user_id);
    if (made === undefined) return;
    if ('failure' in made) sendReply(req.exchange, res, made.failure.reply);
    else res.json(made.model);
  }

  /** Makes a model. Undefined if the client has left: that is not an error, and needs no response. */
  async function make(
    req: Request,
    job: JobRequest,
    user_id: string | null,
  ): Promise<{ readonly model: object } | { readonly failure: JobFailure } | undefined> {
    const { exchange } = req;
    const result = await gpu.run(exchange, job);
    if (result.kind !== 'done') return failed(exchange, result);
    const { body, headers } = result.response;
    let file: ModelFile;
    try {
      file = await files.add(body ?? new ReadableStream(), exchange.signal);
    } catch (error) {
      if (error instanceof JobError) return failed(exchange, error.failure);
      if (exchange.signal.aborted) return undefined;
      throw error;
    }
    const url = `${settings.publicUrl ?? originOf(req)}/files/${file.name}`;
    const model = {
      success: true,
      message: '3D model generated successfully',
      file_url: url,
      download_url: `${url}?download=1`,
      user_id,
      vertices: Number(headers.get('X-Vertices')),
      faces: Number(headers.get('X-Faces')),
      expires_at: new Date(file.expiresAt).toISOString(),
    };
    return { model };
  }

  function failed({ requestId }: Exchange, failure: JobFailure): { readonly failure: JobFailure } | undefined {
    const { kind, status, reason } = failure;
    if (kind === 'cancelled') return undefined;
    logger.warn({ requestId, status, reason }, `The generation ended: ${kind}`);
    return { failure };
  }
}

/** What the worker is asked for, and for which client. */
function textJob(res: Response): [job: JobRequest, user_id: string | null] {
  const { prompt, grid_size, user_id = null } = res.locals.body as z.infer<typeof GenerateText>;
  return [{ path: '/generate/text', json: { prompt, grid_size } }, user_id];
}

/** Sends the reply of a guard, in the words of `fastApiErrors`. */
function sendReply(exchange: Exchange, res: Response, reply: Reply): void {
  const { status, headers, body } = renderReply(reply, exchange);
  for (const [name, value] of headers) res.set(name, value);
  res.status(status).send(body);
}

/** The origin at which this client reached the gateway. Only this client, which has authenticated, receives it. */
function originOf(req: Request): string {
  return `${req.protocol}://${req.get('host') ?? 'localhost'}`;
}

function validated(req: Request, res: Response, next: () => void): void {
  const parsed = GenerateText.safeParse(req.body);
  if (parsed.success) {
    res.locals.body = parsed.data;
    next();
    return;
  }
  res.status(422).json({ detail: mistakes(parsed.error) });
}

/** Nothing has reached the worker if a field is wrong, so the charge is refunded. */
async function validatedImage(req: Request, res: Response, next: () => void): Promise<void> {
  const { fields, files } = uploadOf(req.exchange);
  const sent = ['user_id', 'grid_size'].flatMap((name) => fields.get(name)?.map((value) => [name, value]) ?? []);
  const parsed = GenerateImage.safeParse(Object.fromEntries(sent));
  if (parsed.success && files.length > 0) {
    res.locals.body = parsed.data;
    next();
    return;
  }
  await req.exchange.admission?.settle(0);
  res.status(422).json({ detail: mistakes(parsed.error) });
}

function mistakes(error: z.ZodError | undefined) {
  return error?.issues.map(({ code, path, message }) => ({ type: code, loc: ['body', ...path], msg: message })) ?? [];
}

const respondToError =
  (logger: Logger): ErrorRequestHandler =>
  (error: { status?: number; type?: string; code?: string }, req, res, next) => {
    if (res.headersSent) {
      next(error);
    } else if (error.type === 'entity.parse.failed') {
      res.status(422).json({ detail: [{ type: 'json_invalid', loc: ['body'], msg: 'The body is not JSON.' }] });
    } else if (error.code === 'GATEWARDEN_STORE_UNAVAILABLE') {
      res.status(STORE_UNAVAILABLE.status).set('Retry-After', '5').json({ detail: STORE_UNAVAILABLE.detail });
    } else if (error.status !== undefined && error.status >= 400 && error.status < 500) {
      res.status(error.status).json({ detail: 'The request could not be read.' });
    } else {
      logger.error({ err: error, requestId: req.exchange?.requestId }, 'unhandled error');
      res.status(500).json({ detail: 'Internal Server Error' });
    }
  };
