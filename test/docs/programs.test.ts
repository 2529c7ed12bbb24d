import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import type { Express } from 'express';
import type { Redis } from 'ioredis';
import sharp from 'sharp';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it, onTestFinished, vi } from 'vitest';
import type {
  ApiKeySet,
  AuditRecord,
  Authenticator,
  Exchange,
  Guard,
  LimitGuard,
  LimitStore,
  SignatureHeaders,
} from '../../src/index.js';
import { authenticate, limit, sequence, slidingWindow } from '../../src/index.js';
import type { RedisStore } from '../../src/redis.js';
import { ask, type HeaderLine, type TestExchangeOptions } from '../exchange-fixture.js';
import { startRedis } from '../redis/server.js';
import { ENVIRONMENT } from './environment.js';
import { locationOf, nginxAddress, startNginx } from './nginx.js';
import { FOLDER, fileOf, programNamed, SNIPPETS } from './snippets.js';
import { SERVERS } from './started.js';

const OWN = join(FOLDER, 'programs');

/** What the programs export. */
interface Program {
  readonly app: Express;
  readonly guards: Guard;
  readonly key: string;
  readonly keys: ApiKeySet;
  readonly record: object;
  readonly records: AuditRecord[];
  readonly perMinute: LimitGuard;
  readonly gpuSeconds: LimitGuard;
  readonly client: Redis;
  readonly store: RedisStore;
  readonly CountingStore: new () => LimitStore;
  readonly values: Readonly<Record<string, unknown>>;
  createApp(work: unknown): Express;
  blockList(blocked: ReadonlySet<string>): Guard;
  outcomes(write: (line: string) => void): Guard;
  sessions(userOf: (token: string) => Promise<string | undefined>): Authenticator;
  guarded(guard: Guard, handler: (exchange: Exchange, response: { end(text: string): void }) => void): Server;
  tokenFor(user: string): Promise<string>;
  headersFor(method: string, url: string, body?: string): SignatureHeaders;
}

async function programOf(name: string): Promise<Program> {
  const snippet = programNamed(name);
  const file = join(OWN, fileOf(snippet));
  await writeFile(file, snippet.code);
  return (await import(/* @vite-ignore */ file)) as Program;
}

const bearer = (token: string): HeaderLine => ['Authorization', `Bearer ${token}`];
const SECRET = bearer(ENVIRONMENT.SECRET_KEY);

/** 200 if the request goes on. */
async function send({ guards }: Pick<Program, 'guards'>, ...headers: HeaderLine[]): Promise<number | undefined> {
  return sendWith(guards, { headers });
}
async function sendWith(guard: Guard, options: TestExchangeOptions): Promise<number | undefined> {
  const { passed, status, faults } = await ask(guard, options);
  expect(faults).toEqual([]);
  return passed ? 200 : status;
}

async function originOf(listening: Server): Promise<string> {
  onTestFinished(() => {
    listening.closeAllConnections();
    listening.close();
  });
  if (!listening.listening) await once(listening, 'listening');
  return `http://127.0.0.1:${(listening.address() as AddressInfo).port}`;
}

const png = () =>
  sharp({ create: { width: 30, height: 20, channels: 3, background: 'red' } })
    .png()
    .toBuffer();

function formOf(image: Buffer, fields: Readonly<Record<string, string>> = {}): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  form.set('file', new Blob([new Uint8Array(image)]), 'image.png');
  return form;
}

describe('a program of the documentation keeps its promise:', () => {
  beforeAll(() => mkdir(OWN, { recursive: true }));
  beforeEach(() => {
    for (const [name, value] of Object.entries(ENVIRONMENT)) vi.stubEnv(name, value);
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  });
  afterAll(() => rm(OWN, { recursive: true, force: true }));

  const tested = new Set<string>();
  const program = (name: string, test: (found: Program) => Promise<void>) => {
    tested.add(name);
    it(name, async () => test(await programOf(name)));
  };

  program('complete-sequence', async (found) => {
    vi.spyOn(console, 'info').mockImplementation(() => undefined);
    vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    const host: HeaderLine = ['Host', 'api.example.com'];
    const of = (ip: string): HeaderLine[] => [host, SECRET, ['X-Original-IP', ip]];
    expect(await send(found)).toBe(400);
    expect(await send(found, host, ['Origin', 'https://a.example.org'])).toBe(200);
    expect(await send(found, host, bearer('wrong'))).toBe(401);
    for (let i = 0; i < 60; i++) expect(await send(found, ...of('203.0.113.7'))).toBe(200);
    expect(await send(found, ...of('203.0.113.7'))).toBe(403);
    expect(await send(found, ...of('203.0.113.8'))).toBe(200);
    expect(await found.perMinute.peek('203.0.113.7')).toMatchObject([{ remaining: 0 }]);
    await found.perMinute.reset('203.0.113.7');
    expect(await send(found, ...of('203.0.113.7'))).toBe(200);
  });

  program('api-keys', async (found) => {
    expect(await send(found, ['X-API-Key', found.key])).toBe(200);
    expect(await send(found, bearer(found.key))).toBe(200);
    expect(await send(found, ['X-API-Key', `${found.key}x`])).toBe(401);
    expect(await send(found)).toBe(401);
    found.keys.replace([{ ...found.record, scopes: [] } as never]);
    expect(await send(found, ['X-API-Key', found.key])).toBe(403);
    found.keys.replace([{ ...found.record, enabled: false } as never]);
    expect(await send(found, ['X-API-Key', found.key])).toBe(401);
  });

  program('keys-from-a-setting', async (found) => {
    const key = (name: string): HeaderLine => ['X-API-Key', `c4n4ry-key-of-${name}-000000`];
    expect([await send(found, key('one')), await send(found, key('one')), await send(found, key('one'))]).toEqual([
      200, 200, 429,
    ]);
    expect([await send(found, key('two')), await send(found, key('two'))]).toEqual([200, 429]);
    expect([await send(found, key('the-admin')), await send(found, key('the-admin'))]).toEqual([200, 200]);
    expect(await send(found, key('three'))).toBe(401);
  });

  program('jwt', async (found) => {
    const token = await found.tokenFor('alice');
    expect(await send(found, bearer(token))).toBe(200);
    expect(await send(found, bearer(`${token.slice(0, -5)}AAAAA`))).toBe(401);
  });

  program('cloudflare-access', async (found) => {
    expect(await send(found, ['Cf-Access-Authenticated-User-Email', 'a@b.example'])).toBe(401);
    expect(await send(found, ['Cf-Access-Jwt-Assertion', 'not.a.token'])).toBe(401);
  });

  program('ingest-token', async (found) => {
    expect(await send(found, ['X-Ingest-Token', ENVIRONMENT.INGEST_TOKEN])).toBe(200);
    expect(await send(found, ['X-Ingest-Token', 'another-token-entirely'])).toBe(401);
    expect(await send(found)).toBe(401);
  });

  program('signed-request', async (found) => {
    const signed = found.headersFor('GET', 'https://api.example/jobs?page=2');
    const headers: HeaderLine[] = [['Host', 'api.example'], ...Object.entries(signed)];
    expect(await sendWith(found.guards, { url: '/jobs?page=3', headers })).toBe(401);
    expect(await sendWith(found.guards, { url: '/jobs?page=2', headers })).toBe(200);
    expect(await sendWith(found.guards, { url: '/jobs?page=2', headers })).toBe(401);
  });

  program('development', async (found) => {
    expect(await send(found)).toBe(200);
  });

  program('failed-attempts', async (found) => {
    expect(await send(found, SECRET)).toBe(200);
    const answers: (number | undefined)[] = [];
    for (let i = 0; i < 11; i++) answers.push(await send(found, bearer('wrong')));
    expect(answers).toEqual([...Array.from({ length: 10 }, () => 401), 429]);
    expect(found.records.map(({ reason }) => reason)).toEqual([
      'verified',
      ...Array.from({ length: 10 }, () => 'unknown'),
      'throttled',
    ]);
  });

  program('count-failures', async ({ guards }) => {
    const answerWith = async (status: number) => {
      const { exchange, passed } = await ask(guards, {});
      exchange.end({ kind: 'completed', status });
      return passed;
    };
    for (let i = 0; i < 4; i++) expect(await answerWith(200)).toBe(true);
    for (let i = 0; i < 5; i++) expect(await answerWith(401)).toBe(true);
    expect(await answerWith(200)).toBe(false);
  });

  tested.add('behind-nginx');
  it.runIf(nginxAddress !== undefined)('behind-nginx', async () => {
    const { app } = await programOf('behind-nginx');
    const upstream = await originOf(app.listen(0, '127.0.0.1'));
    const location = locationOf('docs/client-address.md', upstream);
    /** The address that the service finds for a client which claims to be 203.0.113.9. */
    const found = async (nginxLocation: string, headers: Readonly<Record<string, string>>) => {
      const nginx = await startNginx(nginxLocation);
      onTestFinished(() => nginx.stop());
      const response = await fetch(`http://${nginxAddress}:${nginx.port}/ip`, { headers });
      return [response.status, await response.json()];
    };
    const spoofed = { 'X-Forwarded-For': '203.0.113.9' };
    expect(await found(location, spoofed)).toMatchObject([200, { ip: nginxAddress }]);
    expect(await found(location, {})).toMatchObject([200, { ip: nginxAddress, source: 'x-forwarded-for' }]);
    const plain = location.replace(/ +proxy_set_header.*\n/g, '');
    expect(await found(plain, spoofed)).toMatchObject([200, { ip: '203.0.113.9' }]);
    expect(await found(plain, {})).toMatchObject([400, { code: 'client-address-missing' }]);
  });

  tested.add('settings');
  it('settings', async () => {
    const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    const { values } = await programOf('settings');
    expect(values).toMatchObject({ CORS_ORIGINS: [], RATE_LIMIT_WINDOW: '60s', PORT: 8000 });
    expect(log).toHaveBeenCalledWith('API_KEY', 'set', 'environment');
  });

  program('gpu-seconds', async ({ createApp, gpuSeconds }) => {
    const remaining = async () => (await gpuSeconds.peek('shared-secret'))[0]?.remaining;
    const arrived = vi.fn();
    vi.spyOn(console, 'error').mockImplementation(() => undefined);
    const startJob = ({ seconds, kind }: { seconds: number; kind: string }, signal: AbortSignal) => ({
      gpuSeconds: seconds,
      result: new Promise((resolve, reject) => {
        arrived();
        if (kind === 'works') resolve({ seconds });
        if (kind === 'fails') reject(new Error('the GPU is on fire'));
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      }),
    });
    const origin = await originOf(createApp(startJob).listen(0, '127.0.0.1'));
    const generate = (seconds: number, kind: string, signal: AbortSignal | null = null) =>
      fetch(`${origin}/generate`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${ENVIRONMENT.SECRET_KEY}`, 'Content-Type': 'application/json' },
        body: JSON.stringify({ seconds, kind }),
        signal,
      });

    expect((await generate(12.2, 'works')).status).toBe(200);
    expect(await remaining()).toBe(3600 - 13);
    expect((await generate(50, 'fails')).status).toBe(500);
    expect(await remaining()).toBe(3600 - 63);
    const client = new AbortController();
    const left = generate(100, 'waits', client.signal);
    await vi.waitFor(() => expect(arrived).toHaveBeenCalledTimes(3));
    expect(await remaining()).toBe(3600 - 93);
    client.abort();
    await expect(left).rejects.toThrow();
    await vi.waitFor(async () => expect(await remaining()).toBe(3600 - 163));
  });

  program('image-upload', async ({ createApp }) => {
    const jobs: (string | undefined)[] = [];
    const worker = createServer(async (request, response) => {
      jobs.push(request.url);
      response.end(JSON.stringify({ bytes: (await buffer(request)).length, type: request.headers['content-type'] }));
    }).listen(0, '127.0.0.1');
    const workerUrl = `${await originOf(worker)}/segment`;
    const origin = await originOf(createApp(workerUrl).listen(0, '127.0.0.1'));
    const post = (body: FormData, secret: string = ENVIRONMENT.SECRET_KEY) =>
      fetch(`${origin}/segment`, { method: 'POST', headers: { Authorization: `Bearer ${secret}` }, body });
    const image = await png();

    const answer = await post(formOf(image, { mode: 'exact' }));
    expect([answer.status, await answer.json()]).toEqual([200, { bytes: image.length, type: 'image/png' }]);
    expect((await post(formOf(image))).status).toBe(200);
    expect((await post(formOf(image), 'wrong')).status).toBe(401);
    expect((await post(formOf(Buffer.from('a text')))).status).toBe(415);
    const cut = await post(formOf(image.subarray(0, image.length - 20)));
    expect([cut.status, await cut.json()]).toMatchObject([422, { code: 'upload-undecodable' }]);
    expect(jobs).toEqual(['/segment?mode=exact', '/segment?mode=fast']);
    const last = await post(formOf(image));
    expect(last.headers.get('ratelimit')).toContain('r=57');
  });

  program('early-worker', async ({ createApp }) => {
    const worker = createServer(async (request, response) => {
      const bytes = await buffer(request).then(
        (body) => body.length,
        () => -1,
      );
      response.end(JSON.stringify({ bytes }));
    }).listen(0, '127.0.0.1');
    const origin = await originOf(createApp(await originOf(worker)).listen(0, '127.0.0.1'));
    const image = await png();
    const answer = await fetch(`${origin}/segment`, { method: 'POST', body: formOf(image) });
    expect([answer.status, await answer.json()]).toEqual([200, { bytes: image.length }]);
    const refused = await fetch(`${origin}/segment`, { method: 'POST', body: formOf(Buffer.from('a text')) });
    expect(refused.status).toBe(415);
  });

  program('images', async ({ app }) => {
    const origin = await originOf(app.listen(0, '127.0.0.1'));
    const image = await png();
    const found = { type: 'image/png', width: 30, height: 20, bytes: image.length };
    const raw = async (body: Buffer | string) => {
      const response = await fetch(`${origin}/raw`, { method: 'POST', body: new Uint8Array(Buffer.from(body)) });
      return [response.status, response.headers.get('ratelimit'), await response.json()];
    };
    const json = async (body: unknown) => {
      const headers = { 'Content-Type': 'application/json' };
      const response = await fetch(`${origin}/json`, { method: 'POST', headers, body: JSON.stringify(body) });
      return [response.status, await response.json()];
    };
    expect(await raw(image)).toEqual([200, expect.stringContaining('r=59'), found]);
    expect(await json({ image: `data:image/png;base64,${image.toString('base64')}` })).toEqual([200, found]);
    expect(await raw('no image')).toMatchObject([415, expect.any(String), { code: 'upload-type-unsupported' }]);
    expect(await raw('')).toMatchObject([400, expect.any(String), { code: 'upload-malformed' }]);
    expect(await raw(image)).toEqual([200, expect.stringContaining('r=57'), found]);
    for (const nothing of [undefined, null, 5, {}, [], ['abc'], [137, 80]]) {
      expect(await json({ image: nothing })).toMatchObject([400, { code: 'upload-malformed' }]);
    }
  });

  tested.add('limits-in-redis');
  it.runIf(inject('redis').available)('limits-in-redis', async () => {
    const redis = await startRedis();
    vi.stubEnv('REDIS_URL', redis.url);
    const { client, store, guards } = await programOf('limits-in-redis');
    onTestFinished(async () => {
      store.close();
      client.disconnect();
      await redis.stop();
    });
    const answers = new Set<number | undefined>();
    for (let i = 0; i < 60; i++) answers.add(await send({ guards }, SECRET));
    expect([...answers]).toEqual([200]);
    expect(await send({ guards }, SECRET)).toBe(429);
  });

  program('own-guard', async ({ blockList, outcomes }) => {
    const block = blockList(new Set(['203.0.113.7']));
    expect(await sendWith(block, { remoteAddress: '203.0.113.7' })).toBe(403);
    expect(await sendWith(block, { remoteAddress: '203.0.113.8' })).toBe(200);
    const write = vi.fn();
    const { exchange } = await ask(outcomes(write), { url: '/generate' });
    exchange.end({ kind: 'completed', status: 200 });
    expect(write).toHaveBeenCalledExactlyOnceWith('/generate completed');
  });

  program('own-store', async ({ CountingStore }) => {
    const store = new CountingStore();
    const guard = limit({ store, by: 'global', policies: slidingWindow({ limit: 2, window: '1m' }) });
    expect([await sendWith(guard, {}), await sendWith(guard, {}), await sendWith(guard, {})]).toEqual([200, 200, 429]);
    await guard.reset('global');
    const { exchange } = await ask(guard);
    await exchange.admission?.settle(0);
    await exchange.admission?.settle(2);
    expect(await guard.peek('global')).toMatchObject([{ remaining: 2 }]);
  });

  program('own-authenticator', async ({ sessions }) => {
    const guards = authenticate(sessions(async (token) => (token === 'token-of-alice' ? 'alice' : undefined)));
    expect(await send({ guards }, ['X-Session', 'token-of-alice'])).toBe(200);
    expect(await send({ guards }, ['X-Session', 'another'])).toBe(401);
    expect(await send({ guards }, ['X-Session', 'token-of-alice'], ['X-Session', 'another'])).toBe(400);
    expect(await send({ guards })).toBe(401);
  });

  program('own-adapter', async ({ guarded, outcomes: _ }) => {
    const ends: string[] = [];
    const guard = sequence(
      (exchange) => exchange.onEnd((outcome) => ends.push(outcome.kind)) as undefined,
      limit({ by: 'global', policies: slidingWindow({ limit: 1, window: '1m' }) }),
    );
    const server = guarded(guard, (exchange, response) => response.end(exchange.request.url));
    const origin = await originOf(server.listen(0, '127.0.0.1'));
    const first = await fetch(`${origin}/a`);
    expect([first.status, await first.text(), first.headers.get('ratelimit')]).toEqual([
      200,
      '/a',
      expect.stringContaining('r=0'),
    ]);
    const second = await fetch(`${origin}/b`);
    expect([second.status, await second.json()]).toMatchObject([429, { code: 'quota-exceeded' }]);
    await vi.waitFor(() => expect(ends).toEqual(['completed', 'refused']));
  });

  it('has no program without a test', () => {
    const names = SNIPPETS.flatMap(({ program }) => program ?? []);
    expect(names.filter((name) => !tested.has(name) && !SERVERS.includes(name))).toEqual([]);
  });
});
