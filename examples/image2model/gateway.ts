import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import express, { type ErrorRequestHandler, type Express, type Request, type Response } from 'express';
import {
  type AuthenticateOptions,
  accessLog,
  apiKeys,
  audit,
  authenticate,
  clientIp,
  concurrency,
  developmentBypass,
  failedAuthLimit,
  type Guard,
  jsonReply,
  type Logger,
  limit,
  memoryStore,
  reportFaults,
  requestId,
  requireScope,
  securityHeaders,
  slidingWindow,
  trustedHosts,
} from 'gatewarden';
import { guard, sendReply } from 'gatewarden/express';
import { folder, idempotent, jobs, memoryIdempotencyStore, memoryJobStore } from 'gatewarden/jobs';
import { redisIdempotencyStore, redisJobStore } from 'gatewarden/redis';
import { upload, uploadOf } from 'gatewarden/upload';
import { worker } from 'gatewarden/worker';
import type { Redis } from 'ioredis';
import sharp from 'sharp';
import { openCounters } from '../counters.js';
import { gpuPolicies, logWorker } from '../gpu.js';
import { proxyOptions } from '../trusted-proxies.js';
import { adminErrors, closed, errorBody, KEY_REQUIRED, regularErrors } from './errors.js';
import { StoredImages } from './images.js';
import { modelNames } from './model-names.js';
import { type Batch, makeModels } from './models.js';
import { ownPagesOnly } from './own-pages.js';
import { page } from './page.js';
import { auditSink, keepingLogger, RecentEntries } from './recent-entries.js';
import type { Settings } from './settings.js';
import { type JobCounts, systemInfo } from './system-info.js';

const API = '/api/v1';
const IMAGE_TYPES = ['image/jpeg', 'image/png', 'image/webp'] as const;
const MAX_FILES = 25;
const MAX_FACES = 1_000_000;
const CONFIRM_WITHIN_MS = 500;
const JOB = { param: 'job_id' };
/** The answer to a caller without a key, which says nothing about the job: not even whether it exists. */
const LIMITED = {
  files: [],
  download_urls: [],
  total_files: 0,
  limited: true,
  message: 'Send the API key that the job was made with to see its files.',
};

/** Where jobs and the answers of uploads are kept: in Redis, or in this process. */
function openStores(client: Redis | undefined) {
  const prefix = 'image2model:';
  return client === undefined
    ? { jobs: memoryJobStore(), answers: memoryIdempotencyStore() }
    : { jobs: redisJobStore({ client, prefix }), answers: redisIdempotencyStore({ client, prefix }) };
}

/** A running gateway. */
export interface Gateway {
  readonly app: Express;
  /** Stops the jobs of this process and closes the connection to Redis. */
  close(): Promise<void>;
}

/**
 * The Image2Model API: uploads become jobs, which belong to the client whose key has submitted them, and run even if it
 * disconnects. Images and models are kept in `directory`.
 */
export async function createGateway(
  settings: Settings,
  workerUrl: string,
  directory: string,
  output: Logger,
): Promise<Gateway> {
  const { access, clients, admins, environment, jobLifetime } = settings;
  const recent = { lines: new RecentEntries(), audit: new RecentEntries() };
  const logger = keepingLogger(output, recent.lines);
  const counters = openCounters(settings.redisUrl, 'image2model:', logger);
  const stores = openStores(counters.client);
  const gpu = worker({ url: workerUrl, deadline: settings.maxGpuTime, onEvent: logWorker(logger) });
  const images = await StoredImages.open(join(directory, 'images'));

  // Each image of a job gets a slot of the worker by itself, and waits for it in fair order.
  const turn = limit({
    store: counters.store ?? memoryStore(),
    policies: gpuPolicies(settings, 'principal'),
    queue: { maxWait: '6h', maxWaiting: 1000 },
  });
  const queue = jobs({
    store: stores.jobs,
    path: `${API}/status`,
    ttl: jobLifetime,
    results: folder({ directory: join(directory, 'models') }),
    maxBytes: '1gb',
    tasks: {
      // A task survives this process while it waits, if jobs are kept in Redis.
      models: {
        guards: [turn],
        run: async (job, batch: Batch) => {
          const result = await makeModels(job, batch, gpu, turn);
          await images.remove(batch.id);
          return result;
        },
      },
    },
    onFault: (error) => logger.error({ err: error }, 'jobs'),
  });
  const counts: JobCounts = { submitted: 0, succeeded: 0, failed: 0, cancelled: 0 };

  const failures: AuthenticateOptions = {
    failedAuthLimit: failedAuthLimit({ limit: 20, window: '10m', store: counters.store ?? memoryStore() }),
  };
  const keys = apiKeys({
    keys: [...clients, ...admins, ...nobodyIf(clients.length + admins.length === 0)],
    header: false,
  });
  const adminKeys = apiKeys({ keys: [...clients, ...admins, ...nobodyIf(admins.length === 0)], header: false });
  const bypass = access === 'development' ? developmentBypass({ enabled: true, env: environment }) : undefined;
  const scheme = bypass ?? keys;
  // Both windows are charged, or none.
  const perKey = limit({
    store: counters.store,
    by: 'principal-or-client-ip',
    policies: [
      slidingWindow({ limit: settings.perMinute, window: '1m', name: 'minute' }),
      slidingWindow({ limit: settings.perHour, window: '1h', name: 'hour' }),
    ],
    legacyHeaders: true,
    // A job that is not found is a refusal. Guessing ids must not be free.
    refundOn: ['server-error'],
  });
  // The images of a job are stored until it has ended, so the jobs of one client are bounded.
  const ownJobs = limit({
    store: counters.store ?? memoryStore(),
    by: 'principal',
    policies: concurrency({ limit: settings.maxJobsPerClient, name: 'jobs' }),
  });
  const before: readonly Guard[] = access === 'closed' ? [closed] : access === 'development' ? [ownPagesOnly] : [];
  const client = guard(...before, authenticate(scheme, failures), perKey);
  const clientOrNobody = guard(...before, authenticate(scheme, { ...failures, optional: true }), perKey);
  const admin = guard(adminErrors, authenticate(adminKeys, failures), requireScope('admin'), perKey);

  const app = express();
  app.disable('x-powered-by');
  app.use(
    guard(
      regularErrors,
      reportFaults((error, { requestId: id }) => logger.error({ err: error, requestId: id }, 'fault')),
      requestId(),
      clientIp(proxyOptions(settings.trustedProxies)),
      accessLog({ logger, skip: ({ request }) => request.url.startsWith(`${API}/health`) }),
      audit({ sink: auditSink(recent.audit, logger), waitForStatus: true }),
      securityHeaders(),
      ...(settings.trustedHosts.length === 0 ? [] : [trustedHosts({ hosts: settings.trustedHosts })]),
    ),
  );

  app.get('/', (_req, res) => {
    res.json({
      service: 'Image2Model API',
      description: 'Makes 3D models of images, for clients with an API key.',
      endpoints: [
        `POST ${API}/upload`,
        `GET ${API}/status/{job_id}`,
        `GET ${API}/download/{job_id}/all`,
        `GET ${API}/download/{job_id}/{filename}`,
        `GET ${API}/health`,
      ],
      page: '/page',
      documentation: 'docs/examples/image2model.md',
    });
  });
  app.use('/page', page());

  app.get(`${API}/health`, (_req, res) => {
    res.json({ status: 'healthy' });
  });
  app.get([`${API}/health/ready`, `${API}/ready`], async (_req, res) => {
    const { isUp, state, retryAfter } = await gpu.status();
    if (!isUp) res.status(503).set('Retry-After', String(retryAfter));
    res.json({ status: isUp ? 'ready' : 'not ready', checks: { worker: state } });
  });

  app.post(
    `${API}/upload`,
    guard(...before, authenticate(scheme, failures), idempotent({ store: stores.answers, ttl: jobLifetime }), perKey),
    guard(
      gpu.ready(),
      ownJobs,
      upload({
        files: { types: IMAGE_TYPES, maxBytes: '10mb', maxCount: MAX_FILES, fields: ['files'] },
        fields: { maxCount: 5 },
        decode: { sharp, blockOtherLoaders: true },
      }),
    ),
    uploaded,
  );

  app.get(`${API}/status/:job_id`, client, guard(withJobId(queue.status(JOB))));
  app.get([`${API}/status/:job_id/events`, `${API}/status/tasks/:job_id/stream`], client, guard(queue.events(JOB)));
  app.get(`${API}/status/:job_id/result`, client, guard(queue.result(JOB)));
  app.delete(`${API}/status/:job_id`, client, guard(withJobId(queue.cancel(JOB))));

  app.get(`${API}/download/:job_id/all`, clientOrNobody, limited, guard(queue.requireOwner(JOB)), listed);
  app.get(
    `${API}/download/:job_id/:filename`,
    clientOrNobody,
    limited,
    guard(queue.result({ ...JOB, file: 'filename' })),
  );

  app.get(`${API}/admin/system-info`, admin, async (_req, res) => {
    res.json(systemInfo(counts, await gpu.status()));
  });
  app.get([`${API}/logs`, `${API}/logs/recent`], admin, logOf(recent.lines));
  app.get(`${API}/logs/audit`, admin, logOf(recent.audit));
  // Also for paths that do not exist, so that only an administrator learns which do.
  app.use([`${API}/admin`, `${API}/logs`], admin);

  app.use((_req, res) => {
    res.status(404).json(errorBody('NOT_FOUND', 'Not found'));
  });
  app.use(respondToError(logger));
  return {
    app,
    async close() {
      await queue.close();
      images.close();
      // The slots of stopped jobs are given back when the worker has confirmed that, or else when their leases end.
      if (counters.client !== undefined) await sleep(CONFIRM_WITHIN_MS);
      await counters.close();
    },
  };

  async function uploaded(req: Request, res: Response): Promise<void> {
    const { exchange } = req;
    const { fields, files } = uploadOf(exchange);
    const faceLimit = faceLimitOf(fields.get('face_limit'));
    if (faceLimit === 'invalid') {
      res.status(400).json(errorBody('VALIDATION_ERROR', `face_limit must be an integer from 2 to ${MAX_FACES}`));
      return;
    }
    const id = randomUUID();
    const stored = await images.add(id, files);
    const models = modelNames(stored.map(({ filename }) => filename));
    const batch: Batch = { id, images: stored, models, faceLimit };
    const submission = await queue.submit(exchange, { task: 'models', input: batch }).catch(async (error: unknown) => {
      await images.remove(id);
      throw error;
    });
    if (submission.kind === 'refused') {
      await images.remove(id);
      sendReply(req, res, submission.reply);
      return;
    }
    const { job } = submission;
    exchange.admission?.holdUntil(job.ended);
    counts.submitted++;
    void job.ended.then(async (record) => {
      if (record === undefined || record.state === 'queued' || record.state === 'running') return;
      counts[record.state]++;
      // A job that was cancelled in the queue has not removed them.
      await images.remove(id).catch((error: unknown) => logger.error({ err: error }, 'images'));
    });
    const { body, ...accepted } = queue.accepted(job);
    sendReply(req, res, {
      ...accepted,
      body: {
        ...(body as object),
        batch_id: id,
        job_id: job.id,
        task_id: job.id,
        session_id: id,
        uploaded_files: stored.map(({ filename, bytes, type }, i) => ({
          file_id: `${i + 1}`,
          filename,
          file_size: bytes,
          content_type: type,
          status: 'uploaded',
          model: models[i],
        })),
        face_limit: faceLimit ?? null,
        total_files: stored.length,
        message: 'Files uploaded successfully, processing started',
      },
    });
  }

  /** Without a key there is a limited answer, which is the same for every job. */
  function limited({ exchange, params }: Request, res: Response, next: () => void): void {
    if (exchange.principal !== undefined) next();
    else if (params.filename === undefined) res.json(LIMITED);
    else res.status(401).set('WWW-Authenticate', 'Bearer realm="api"').json(KEY_REQUIRED);
  }

  async function listed({ exchange, params: { job_id } }: Request<{ job_id: string }>, res: Response): Promise<void> {
    const { files = [], endedAt = Date.now() } = (await queue.get(exchange, job_id)) ?? {};
    res.set('Cache-Control', 'no-store').json({
      job_id,
      files: files.map(({ name, type, bytes }) => ({
        filename: name,
        size: bytes,
        mime_type: type,
        created_time: Math.round(endedAt / 1000),
      })),
      download_urls: files.map(({ name }) => `${API}/download/${job_id}/${encodeURIComponent(name)}`),
      total_files: files.length,
    });
  }
}

/** A random key, which no client has, so that a list without keys refuses all of them. */
function nobodyIf(isEmpty: boolean): readonly string[] {
  return isEmpty ? [randomBytes(32).toString('hex')] : [];
}

/** Adds the id under the name that the clients of this service know. */
function withJobId(serve: Guard): Guard {
  return async (exchange) => {
    const reply = await serve(exchange);
    if (reply?.status !== 200) return reply;
    return jsonReply(200, { job_id: exchange.request.param?.(JOB.param), ...(reply.body as object) }, reply.headers);
  };
}

/** The most faces of each model, if the client has set it. */
function faceLimitOf(values: readonly string[] | undefined): number | 'invalid' | undefined {
  if (values === undefined || values.every((value) => value === '')) return undefined;
  const [value = ''] = values;
  const faces = values.length === 1 && /^\d{1,7}$/.test(value) ? Number(value) : 0;
  return faces >= 2 && faces <= MAX_FACES ? faces : 'invalid';
}

/** The last entries of a log: `?lines=` and `?level=` choose among them. */
function logOf(entries: RecentEntries) {
  return ({ query }: Request, res: Response): void => {
    const lines = /^[1-9]\d{0,3}$/.test(String(query.lines)) ? Number(query.lines) : 100;
    const logs = entries.last(lines, typeof query.level === 'string' ? query.level : undefined);
    res.set('Cache-Control', 'no-store').json({ logs, total_lines: logs.length });
  };
}

const respondToError =
  (logger: Logger): ErrorRequestHandler =>
  (error: { status?: number }, req, res, next) => {
    if (res.headersSent) {
      next(error);
    } else if (error.status !== undefined && error.status >= 400 && error.status < 500) {
      res.status(error.status).json(errorBody('BAD_REQUEST', 'The request could not be read'));
    } else {
      logger.error({ err: error, requestId: req.exchange?.requestId }, 'unhandled error');
      res.status(500).json(errorBody('INTERNAL_ERROR', 'The request could not be processed'));
    }
  };
