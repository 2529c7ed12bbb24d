import express, { type ErrorRequestHandler, type Express, type Request, type Response } from 'express';
import {
  accessLog,
  addressKey,
  authenticate,
  clientIp,
  dailyQuota,
  type LimitStore,
  limit,
  problem,
  problemFormat,
  requestId,
  securityHeaders,
  sharedSecret,
  slidingWindow,
  trustedHosts,
} from 'gatewarden';
import { type Duration, toMilliseconds } from 'gatewarden/env';
import { guard } from 'gatewarden/express';
import { upload, uploadOf } from 'gatewarden/upload';
import sharp from 'sharp';
import { z } from 'zod';
import type { Logger } from '../text-logger.js';
import { proxyOptions } from '../trusted-proxies.js';
import { WorkTimeoutError, withTimeout } from '../with-timeout.js';
import type { ModelFiles } from './model-files.js';
import { isOneDay, type Settings } from './settings.js';
import { failed, generateMesh, type Job, readinessOf } from './worker-client.js';

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
  'quota-exceeded': ({ limit, remaining, resetAt, retryAt }) => ({
    body: {
      detail: {
        error: 'rate_limit_exceeded',
        message: `Rate limit exceeded: ${limit} generations per IP.`,
        limit,
        remaining,
        reset_time: Math.ceil((retryAt ?? resetAt) / 1000),
      },
    },
  }),
  default: ({ detail }) => ({ body: { detail } }),
});

export interface Timeouts {
  /** How long the worker may compute. The gateway sends it as the job's deadline. */
  readonly worker: Duration;
  /** How long the gateway waits until it has the whole model. Longer than `worker`. */
  readonly answer: Duration;
}

/** What `limit` answers while its store cannot be reached, for the routes that read the store themselves. */
const STORE_UNAVAILABLE = problem('store-unavailable');

/**
 * The Point-E gateway: authenticates the main server, limits each end user by address, and forwards jobs to the worker.
 * `store` counts the generations. If it is undefined, the memory of this process does.
 */
export function createGateway(
  settings: Settings,
  workerUrl: string,
  files: ModelFiles,
  store: LimitStore | undefined,
  logger: Logger,
  timeouts: Timeouts = { worker: '120s', answer: '125s' },
): Express {
  const isReady = readinessOf(workerUrl);
  const { limitPerIp, window } = settings;
  const [workerMs, answerMs] = [toMilliseconds(timeouts.worker), toMilliseconds(timeouts.answer)];
  const mainServer = authenticate(sharedSecret({ secrets: settings.secrets, clientId: MAIN_SERVER }));
  // The main server has authenticated, so the address that it forwards is trusted.
  const endUser = clientIp({
    ...proxyOptions(settings.trustedProxies),
    forwarder: (principal) => principal.id === MAIN_SERVER,
  });
  const perIp = limit({
    store,
    by: 'client-ip',
    policies: isOneDay(window)
      ? dailyQuota({ limit: limitPerIp, name: 'generations' })
      : slidingWindow({ limit: limitPerIp, window, name: 'generations' }),
    // Nothing has reached the worker when an upload is refused.
    refundOn: ['refused', 'refused-after-body', 'server-error'],
  });

  const app = express();
  app.disable('x-powered-by');
  app.use(
    guard(
      fastApiErrors,
      requestId(),
      accessLog({ logger, skip: ({ request }) => /^\/(?:health|ready)(?:\?|$)/.test(request.url) }),
      securityHeaders(),
      ...(settings.trustedHosts.length === 0 ? [] : [trustedHosts({ hosts: settings.trustedHosts })]),
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
    const ready = await isReady();
    res.json({ status: ready ? 'healthy' : 'loading', models_ready: ready, service: 'point-e' });
  });

  app.get('/ready', async (_req, res) => {
    if (await isReady()) res.json({ ready: true });
    else res.status(503).set('Retry-After', '5').json({ ready: false });
  });

  app.post(
    '/generate/text',
    guard(mainServer, endUser),
    express.json({ limit: '64kb', inflate: false }),
    validated,
    // Only a valid request is charged.
    guard(perIp),
    (req, res) => {
      const { prompt, grid_size, user_id } = res.locals.body as z.infer<typeof GenerateText>;
      return generate(req, res, { prompt, grid_size }, user_id);
    },
  );

  app.post(
    '/generate/image',
    // Charged before the image is read. The charge is refunded if the upload is refused.
    guard(
      mainServer,
      endUser,
      perIp,
      upload({
        files: { types: IMAGE_TYPES, maxBytes: '20mb', fields: ['file'] },
        decode: { sharp, blockOtherLoaders: true },
      }),
    ),
    async (req, res) => {
      const { fields, files } = uploadOf(req.exchange);
      const sent = ['user_id', 'grid_size'].flatMap((name) => fields.get(name)?.map((value) => [name, value]) ?? []);
      const parsed = GenerateImage.safeParse(Object.fromEntries(sent));
      const [image] = files;
      if (!parsed.success || image === undefined) {
        await req.exchange.admission?.settle(0);
        res.status(422).json({ detail: mistakes(parsed.error) });
        return;
      }
      const { grid_size, user_id } = parsed.data;
      await generate(req, res, { image: await image.buffer(), type: image.type, grid_size }, user_id);
    },
  );

  app.get('/usage/:ip', guard(mainServer), async (req, res) => {
    const key = addressKey(req.params.ip);
    const [quota] = key === undefined ? [] : await perIp.peek(key);
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

  async function generate(req: Request, res: Response, job: Job, user_id: string | null = null): Promise<void> {
    const { signal } = req.exchange;
    const result = await withTimeout(signal, answerMs, async (limitedSignal) => {
      const mesh = await generateMesh(workerUrl, job, workerMs, limitedSignal);
      return mesh.kind === 'failed' ? mesh : { ...mesh, file: await files.add(mesh.ply, limitedSignal) };
    }).catch((error: unknown) => {
      if (error instanceof WorkTimeoutError) return failed(504, 'The generation took too long.');
      // The client has disconnected. That is not an error, and needs no response.
      if (signal.aborted) return undefined;
      throw error;
    });
    if (result === undefined) return;
    if (result.kind === 'failed') {
      if (result.retryAfter !== undefined) res.set('Retry-After', result.retryAfter);
      res.status(result.status).json({ detail: result.message });
      return;
    }
    const { file } = result;
    const url = `${settings.publicUrl ?? originOf(req)}/files/${file.name}`;
    res.json({
      success: true,
      message: '3D model generated successfully',
      file_url: url,
      download_url: `${url}?download=1`,
      user_id,
      vertices: result.vertices,
      faces: result.faces,
      expires_at: new Date(file.expiresAt).toISOString(),
    });
  }
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
