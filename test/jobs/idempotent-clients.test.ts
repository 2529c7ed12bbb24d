import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import express from 'express';
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { guard } from '../../src/adapters/express.js';
import { reportFaults } from '../../src/index.js';
import { type IdempotentOptions, idempotent } from '../../src/jobs/idempotency/idempotent.js';
import { memoryIdempotencyStore } from '../../src/jobs/idempotency/memory-idempotency-store.js';
import { listening } from '../worker/scene.js';

type Work = (attempt: number) => Promise<{ readonly status: number; readonly body: object }>;

/** A service that counts the requests that arrive, the jobs that run, and the idempotency keys that it sees. */
async function service(work: Work, options: IdempotentOptions = {}) {
  const seen = { requests: 0, jobs: 0, keys: new Set<unknown>(), faults: [] as unknown[] };
  const app = express();
  app.use((req, _res, next) => {
    seen.requests++;
    seen.keys.add(req.headers['idempotency-key']);
    next();
  });
  app.post(
    '/{*path}',
    guard(
      reportFaults((error) => seen.faults.push(error)),
      idempotent(options),
    ),
    async (_req, res) => {
      const { status, body } = await work(++seen.jobs);
      res.status(status).json(body);
    },
  );
  return { url: await listening(createServer(app)), seen };
}

const IMAGE = { created: 1, data: [{ b64_json: 'AAAA' }] };
const MODEL = { model: 'mesh', prompt: 'a cat' };

function openai(url: string, timeout = 5000): OpenAI {
  return new OpenAI({ apiKey: 'sk-test', baseURL: `${url}/v1`, maxRetries: 4, timeout });
}

describe('the official openai client, with an idempotency key', () => {
  const options = () => ({ headers: { 'Idempotency-Key': randomUUID() } });

  it('gets the result of one job, although its first attempts time out', async () => {
    const { url, seen } = await service(() => sleep(400, { status: 200, body: IMAGE }));
    const image = await openai(url, 150).images.generate(MODEL, options());
    expect(image).toMatchObject(IMAGE);
    expect(seen).toMatchObject({ jobs: 1, faults: [] });
    expect(seen.requests).toBeGreaterThan(1);
    expect(seen.keys.size).toBe(1);
  });

  it('waits for a job that another process runs, as Retry-After says', async () => {
    const store = memoryIdempotencyStore();
    const one = await service(() => sleep(400, { status: 200, body: IMAGE }), { store });
    const two = await service(() => sleep(0, { status: 200, body: IMAGE }), { store });
    const sent = options();
    const first = openai(one.url).images.generate(MODEL, sent);
    await sleep(150);
    expect(await openai(two.url).images.generate(MODEL, sent)).toMatchObject(IMAGE);
    await first;
    expect([one.seen.jobs, two.seen.jobs, two.seen.requests]).toEqual([1, 0, 2]);
  });

  it('runs the job again if the service says that it failed', async () => {
    const { url, seen } = await service(async (attempt) =>
      attempt === 1 ? { status: 503, body: { error: 'busy' } } : { status: 200, body: IMAGE },
    );
    expect(await openai(url).images.generate(MODEL, options())).toMatchObject(IMAGE);
    expect(seen).toMatchObject({ jobs: 2, requests: 2 });
  });

  it('starts two jobs without a key: this is what the key is for', async () => {
    const { url, seen } = await service(() => sleep(400, { status: 200, body: IMAGE }));
    const image = openai(url, 150).images.generate(MODEL, { maxRetries: 1 });
    await expect(image).rejects.toThrow();
    expect(seen.jobs).toBe(2);
  });
});

/**
 * Sends a request as Stripe's clients do: one bare key for all attempts, another attempt after a failed connection, a 409, or
 * a 5xx, and twice the pause before each.
 */
async function stripePost(url: string, timeout: number, retries = 4): Promise<Response> {
  const key = `stripe-node-retry-${randomUUID()}`;
  for (let attempt = 0; ; attempt++) {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'Idempotency-Key': key, 'Content-Type': 'application/x-www-form-urlencoded' },
      body: 'amount=2000&currency=usd',
      signal: AbortSignal.timeout(timeout),
    }).catch(() => undefined);
    const isOver = response !== undefined && response.status !== 409 && response.status < 500;
    if (isOver || attempt === retries) return response ?? Response.error();
    await sleep(100 * 2 ** attempt);
  }
}

describe("Stripe's way to retry", () => {
  it('gets the result of one job, although its first attempts time out', async () => {
    const { url, seen } = await service(() => sleep(400, { status: 200, body: { id: 'ch_1' } }));
    const response = await stripePost(`${url}/v1/charges`, 150);
    expect([response.status, await response.json()]).toEqual([200, { id: 'ch_1' }]);
    expect(response.headers.get('idempotency-replayed')).toBe('true');
    expect(seen).toMatchObject({ jobs: 1, faults: [] });
    expect(seen.requests).toBeGreaterThan(1);
  });

  it('gets a refusal once and for all, and never runs the job again for it', async () => {
    const { url, seen } = await service(async () => ({ status: 402, body: { error: { code: 'card_declined' } } }));
    const response = await stripePost(`${url}/v1/charges`, 1000);
    expect(response.status).toBe(402);
    expect(seen).toMatchObject({ jobs: 1, requests: 1 });
  });
});
