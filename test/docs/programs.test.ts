import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import type { Express } from 'express';
import sharp from 'sharp';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it, onTestFinished, vi } from 'vitest';
import { createStandIn } from '../../examples/workers/point-e-stand-in.js';
import { guard } from '../../src/adapters/express.js';
import type {
  ApiKeySet,
  AuditRecord,
  Authenticator,
  Exchange,
  Guard,
  LimitGuard,
  LimitStore,
  ProtectedResource,
  SignatureHeaders,
} from '../../src/index.js';
import { authenticate, limit, type Receipt, sequence, slidingWindow } from '../../src/index.js';
import { type RedisStore, redisStore } from '../../src/redis.js';
import { ask, type HeaderLine, type TestExchangeOptions } from '../exchange-fixture.js';
import { startRedis } from '../redis/server.js';
import { ENVIRONMENT } from './environment.js';
import { locationOf, nginxAddress, startNginx } from './nginx.js';
import { FOLDER, fileOf, pageText, programNamed, SNIPPETS } from './snippets.js';
import { SERVERS } from './started.js';

const OWN = join(FOLDER, `programs-${process.pid}`);

/** What the programs export. */
interface Program {
  readonly app: Express;
  readonly access: Guard;
  readonly beforeHandler: Guard;
  readonly failures: Guard;
  readonly key: string;
  readonly keySet: ApiKeySet;
  readonly record: object;
  readonly records: AuditRecord[];
  readonly perMinute: LimitGuard;
  readonly gpuSeconds: LimitGuard;
  readonly resource: ProtectedResource;
  readonly server: Server;
  readonly store: RedisStore;
  readonly CountingStore: new () => LimitStore;
  readonly values: Readonly<Record<string, unknown>>;
  createApp(work: unknown, directory?: string): Express;
  shutDown(): Promise<void>;
  unlessBusy(isBusy: () => boolean): Guard;
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
async function send({ access }: Pick<Program, 'access'>, ...headers: HeaderLine[]): Promise<number | undefined> {
  return sendWith(access, { headers });
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

  program('complete-sequence', async ({ beforeHandler: access, perMinute }) => {
    vi.spyOn(console, 'info').mockImplementation(() => undefined);
    vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    const host: HeaderLine = ['Host', 'api.example.com'];
    const of = (ip: string): HeaderLine[] => [host, SECRET, ['X-Original-IP', ip]];
    expect(await send({ access })).toBe(400);
    expect(await send({ access }, host, ['Origin', 'https://a.example.org'])).toBe(200);
    expect(await send({ access }, host, bearer('wrong'))).toBe(401);
    for (let i = 0; i < 60; i++) expect(await send({ access }, ...of('203.0.113.7'))).toBe(200);
    expect(await send({ access }, ...of('203.0.113.7'))).toBe(403);
    expect(await send({ access }, ...of('203.0.113.8'))).toBe(200);
    expect(await perMinute.peek('203.0.113.7')).toMatchObject([{ remaining: 0 }]);
    await perMinute.reset('203.0.113.7');
    expect(await send({ access }, ...of('203.0.113.7'))).toBe(200);
  });

  program('api-keys', async (found) => {
    expect(await send(found, ['X-API-Key', found.key])).toBe(200);
    expect(await send(found, bearer(found.key))).toBe(200);
    expect(await send(found, ['X-API-Key', `${found.key}x`])).toBe(401);
    expect(await send(found)).toBe(401);
    found.keySet.replace([{ ...found.record, scopes: [] } as never]);
    expect(await send(found, ['X-API-Key', found.key])).toBe(403);
    found.keySet.replace([{ ...found.record, enabled: false } as never]);
    expect(await send(found, ['X-API-Key', found.key])).toBe(401);
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
    expect(await sendWith(found.access, { url: '/jobs?page=3', headers })).toBe(401);
    expect(await sendWith(found.access, { url: '/jobs?page=2', headers })).toBe(200);
    expect(await sendWith(found.access, { url: '/jobs?page=2', headers })).toBe(401);
  });

  program('development', async (found) => {
    expect(await send(found)).toBe(200);
  });

  program('protected-resource', async ({ access, resource }) => {
    const { body } = await ask(access, { url: '/.well-known/oauth-protected-resource/mcp' });
    expect(JSON.parse(body)).toMatchObject({
      resource: 'https://api.example.com/mcp',
      authorization_servers: ['https://auth.example.com'],
      scopes_supported: ['tools:read', 'tools:call'],
    });
    const { replyHeaders } = await ask(access, { url: '/mcp' });
    const header = `WWW-Authenticate: ${replyHeaders['WWW-Authenticate']}`;
    expect(pageText('docs/authentication.md')).toContain(`\n${header}\n`);
    expect(header).toContain(resource.metadataUrl);
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

  program('count-failures', async ({ failures }) => {
    const answerWith = async (status: number) => {
      const { exchange, passed } = await ask(failures, {});
      exchange.end({ kind: 'completed', status });
      return passed;
    };
    for (let i = 0; i < 4; i++) expect(await answerWith(200)).toBe(true);
    for (let i = 0; i < 5; i++) expect(await answerWith(401)).toBe(true);
    expect(await answerWith(200)).toBe(false);
  });
  it('count-failures gives back no more than the limit', async () => {
    vi.resetModules();
    const { failures } = await programOf('count-failures');
    const passed: boolean[] = [];
    for (let i = 0; i < 11; i++) {
      const answer = await ask(failures, {});
      passed.push(answer.passed);
      if (answer.passed) answer.exchange.end({ kind: 'completed', status: 200 });
    }
    expect(passed).toEqual([...Array.from({ length: 10 }, () => true), false]);
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

  program('checked-settings', async (found) => {
    expect(await send(found, ['X-API-Key', 'c4n4ry-key-of-one-000000'])).toBe(200);
    expect(await send(found, ['X-API-Key', 'c4n4ry-key-of-nobody-000000'])).toBe(401);
    vi.stubEnv('API_KEYS', 'c4n4ry-key-of-one-000000:one:2,c4n4ry-key-of-two-000000:two');
    vi.resetModules();
    await expect(programOf('checked-settings')).rejects.toThrow(
      '"API_KEYS" is not accepted: parseApiKeys "keys[1]" must have three parts, key:client:limit',
    );
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
      expect(request.headers['transfer-encoding']).toBeUndefined();
      if (request.url?.endsWith('silent')) return;
      if (request.url?.endsWith('busy')) response.statusCode = 503;
      if (request.url?.endsWith('html')) response.end('<html>');
      else
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
    expect(last.headers.get('ratelimit')).toContain('r=55'); // the two refused uploads count as well

    vi.spyOn(console, 'error').mockImplementation(() => undefined);
    const failed = [502, { error: 'The worker failed.' }];
    for (const mode of ['busy', 'html']) {
      const answer = await post(formOf(image, { mode }));
      expect([answer.status, await answer.json()]).toEqual(failed);
    }
    const { timeout } = AbortSignal;
    const sooner = vi.spyOn(AbortSignal, 'timeout').mockImplementation(() => timeout.call(AbortSignal, 50));
    onTestFinished(() => sooner.mockRestore());
    const late = await post(formOf(image, { mode: 'silent' }));
    expect([late.status, await late.json()]).toEqual([504, { error: 'The worker took too long.' }]);
    worker.closeAllConnections();
    await new Promise((closed) => worker.close(closed));
    const down = await post(formOf(image));
    expect([down.status, await down.json()]).toEqual(failed);
  });

  program('gpu-service', async ({ createApp }) => {
    const LATER = { timeout: 10_000, interval: 50 };
    const worker = createStandIn({ log: () => undefined }).listen(0, '127.0.0.1');
    const origin = await originOf(createApp(await originOf(worker)).listen(0, '127.0.0.1'));
    const generate = (prompt: string, headers: Record<string, string> = {}, signal?: AbortSignal) =>
      fetch(`${origin}/generate`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${ENVIRONMENT.SECRET_KEY}`, 'Content-Type': 'application/json', ...headers },
        body: JSON.stringify({ prompt, grid_size: 32 }),
        signal: signal ?? null,
      });
    const coded = async (response: Response) => [response.status, ((await response.json()) as { code: string }).code];
    const mesh = await generate('a red car');
    expect([mesh.status, (await mesh.text()).slice(0, 4)]).toEqual([200, 'ply\n']);
    expect(await coded(await generate('[fail]'))).toEqual([502, 'worker-failed']);
    expect(await coded(await generate('a car', { 'X-Deadline-Ms': 'soon' }))).toEqual([400, 'deadline-malformed']);
    expect(await coded(await generate('[slow]', { 'X-Deadline-Ms': '300' }))).toEqual([504, 'deadline-exceeded']);
    const client = new AbortController();
    const slow = generate('[slow]', {}, client.signal);
    await vi.waitFor(
      async () => expect(await coded(await generate('a car'))).toEqual([503, 'capacity-exceeded']),
      LATER,
    );
    client.abort();
    await expect(slow).rejects.toThrow();
    await vi.waitFor(async () => expect((await generate('a car')).status).toBe(200), LATER);
    worker.closeAllConnections();
    await new Promise((closed) => worker.close(closed));
    await vi.waitFor(async () => expect(await coded(await generate('a car'))).toEqual([503, 'not-ready']), LATER);
  });

  program('queued-service', async ({ createApp }) => {
    const finish: (() => void)[] = [];
    const work = () => new Promise((done) => finish.push(() => done({ made: true })));
    const origin = await originOf(createApp(work).listen(0, '127.0.0.1'));
    const headers = { Authorization: `Bearer ${ENVIRONMENT.SECRET_KEY}` };
    const generate = () => fetch(`${origin}/generate`, { method: 'POST', headers });
    const answers = [generate(), generate()];
    for (let i = 0; i < 2; i++) {
      await vi.waitFor(() => expect(finish).toHaveLength(1));
      finish.pop()?.();
    }
    for (const answer of await Promise.all(answers)) expect(await answer.json()).toEqual({ made: true });
  });

  program('job-service', async ({ createApp }) => {
    const worker = createStandIn({ log: () => undefined }).listen(0, '127.0.0.1');
    const directory = join(OWN, 'meshes');
    const origin = await originOf(createApp(await originOf(worker), directory).listen(0, '127.0.0.1'));
    const headers = { Authorization: `Bearer ${ENVIRONMENT.SECRET_KEY}`, 'Content-Type': 'application/json' };
    const submit = async (prompt: string) => {
      const body = JSON.stringify({ prompt, grid_size: 32 });
      const response = await fetch(`${origin}/meshes`, { method: 'POST', headers, body });
      const job = (await response.json()) as Record<
        'id' | 'status_url' | 'events_url' | 'result_url' | 'cancel_url',
        string
      >;
      expect([response.status, response.headers.get('location')]).toEqual([202, job.status_url]);
      expect(Object.keys(job)).toEqual(['id', 'status', 'status_url', 'events_url', 'result_url', 'cancel_url']);
      return job;
    };
    const get = (url: string) => fetch(`${origin}${url}`, { headers });
    const job = await submit('a red car');
    const events = await (await get(job.events_url)).text();
    expect(events).toMatch(/event: status\nid: \d+\ndata: .*"status":"succeeded".*\n\n$/);
    const mesh = await get(job.result_url);
    expect([mesh.status, (await mesh.text()).slice(0, 4)]).toEqual([200, 'ply\n']);
    expect((await fetch(`${origin}${job.status_url}`)).status).toBe(401);
    const failing = await submit('[fail]');
    await (await get(failing.events_url)).text();
    const failure = await get(failing.result_url);
    expect([failure.status, await failure.json()]).toMatchObject([502, { code: 'worker-failed' }]);
    const slow = await submit('[slow]');
    const waiting = await submit('a blue car');
    const statusOf = async ({ status_url }: typeof job) => (await (await get(status_url)).json()) as object;
    await vi.waitFor(async () => expect(await statusOf(waiting)).toMatchObject({ status: 'queued', position: 1 }));
    const cancelled = await fetch(`${origin}${slow.cancel_url}`, { method: 'DELETE', headers });
    expect(cancelled.status).toBe(200);
    await vi.waitFor(async () => expect(await statusOf(waiting)).toMatchObject({ status: 'succeeded' }), {
      timeout: 10_000,
    });
    expect(await statusOf(slow)).toMatchObject({ status: 'cancelled' });
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

    const faults = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    faults.mockClear();
    worker.closeAllConnections();
    await new Promise((closed) => worker.close(closed));
    const down = await fetch(`${origin}/segment`, { method: 'POST', body: formOf(image) });
    expect([down.status, await down.json()]).toEqual([502, { error: 'The worker failed.' }]);
    expect(faults).toHaveBeenCalledOnce();
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

  // In limits-in-sqlite.test.ts.
  tested.add('limits-in-sqlite');

  tested.add('limits-in-redis');
  describe.runIf(inject('redis').available)('limits-in-redis', () => {
    /** The program, as a user of Redis who has only the permissions that the page shows. */
    async function start() {
      const redis = await startRedis();
      const admin = redis.client();
      const [, rules = ''] = /^ACL SETUSER gatewarden (.+)$/m.exec(pageText('docs/limits-in-redis.md')) ?? [];
      expect(await admin.call('ACL', 'SETUSER', 'gatewarden', ...rules.split(' '))).toBe('OK');
      vi.stubEnv('REDIS_URL', `redis://gatewarden:a-long-password@${redis.host}:${redis.port}`);
      vi.stubEnv('PORT', '0');
      vi.resetModules(); // each test starts the program again
      const logged = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
      const found = await programOf('limits-in-redis');
      process.off('SIGTERM', found.shutDown);
      onTestFinished(async () => {
        found.server.closeAllConnections();
        await found.shutDown();
        await redis.stop();
      });
      return { ...found, redis, admin, logged, origin: await originOf(found.server) };
    }

    it('counts, with the keys and the permissions that are shown', async () => {
      const { origin, admin, logged } = await start();
      const statuses: number[] = [];
      for (let i = 0; i < 6; i++) {
        const headers = { Authorization: `Bearer ${ENVIRONMENT.SECRET_KEY}`, 'X-Forwarded-For': '203.0.113.7' };
        statuses.push((await fetch(`${origin}/generate`, { method: 'POST', headers })).status);
      }
      expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
      const keys = await admin.keys('*');
      expect(keys).toContain('gw:203.0.113.7');
      expect(keys.filter((key) => !/^gw:(203\.0\.113\.7|\{\}:[\w-]{8}:r?\d+)$/.test(key))).toEqual([]);
      expect(logged).not.toHaveBeenCalled();
    });

    it('corrects the charges of the requests that are under way when it shuts down', async () => {
      const { app, store, shutDown, redis, origin, logged } = await start();
      const slow = limit({ store, by: 'global', policies: slidingWindow({ limit: 100, window: '1m' }), cost: 30 });
      const arrived = vi.fn<(finish: () => void) => void>();
      app.get('/slow', guard(slow), async (req, res) => {
        await new Promise<void>((finish) => arrived(finish));
        void req.exchange.admission?.settle(2);
        res.json('done');
      });
      const answer = fetch(`${origin}/slow`);
      await vi.waitFor(() => expect(arrived).toHaveBeenCalledOnce());
      const stopped = shutDown();
      await expect(fetch(origin)).rejects.toThrow();
      arrived.mock.calls[0]?.[0]();
      expect(await (await answer).json()).toBe('done');
      await stopped;
      const later = redisStore({ client: redis.client() });
      const counted = limit({ store: later, by: 'global', policies: slidingWindow({ limit: 100, window: '1m' }) });
      expect(await counted.peek('global')).toMatchObject([{ remaining: 98 }]);
      later.close();
      expect(logged).not.toHaveBeenCalled();
    });

    it('shuts down without Redis, and reports the corrections that are lost', async () => {
      const { store, shutDown, redis, logged } = await start();
      const policies = [slidingWindow({ limit: 100, window: '1m', by: 'global' })];
      const { receipt } = (await store.admit(policies, ['global'], [30])) as { receipt: Receipt };
      await redis.kill();
      await vi.waitFor(async () => {
        await expect(store.admit(policies, ['global'], [1])).rejects.toThrow();
        expect(logged).toHaveBeenCalledWith('limits:', 'unavailable');
      });
      await store.settle(receipt, [0]);
      await shutDown();
      expect(logged).toHaveBeenCalledWith('limits:', 'correction-lost');
      await redis.restart();
    });
  });

  program('own-problem', async ({ unlessBusy }) => {
    let isBusy = true;
    const guard = unlessBusy(() => isBusy);
    const { status, body, replyHeaders } = await ask(guard);
    expect([status, replyHeaders['Retry-After']]).toEqual([503, '5']);
    expect(JSON.parse(body)).toMatchObject({ code: 'model-busy', model: 'sdxl' });
    isBusy = false;
    expect((await ask(guard)).passed).toBe(true);
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
    const access = authenticate(sessions(async (token) => (token === 'token-of-alice' ? 'alice' : undefined)));
    expect(await send({ access }, ['X-Session', 'token-of-alice'])).toBe(200);
    expect(await send({ access }, ['X-Session', 'another'])).toBe(401);
    expect(await send({ access }, ['X-Session', 'token-of-alice'], ['X-Session', 'another'])).toBe(400);
    expect(await send({ access })).toBe(401);
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

  program('run-once', async ({ createApp }) => {
    let runs = 0;
    const app = createApp(async (body: unknown) => ({ run: ++runs, body }));
    const origin = await originOf(app.listen(0, '127.0.0.1'));
    const ask = async (key: string, prompt = 'a cat') => {
      const [name, value] = SECRET;
      const headers = { [name]: value, 'Content-Type': 'application/json', 'Idempotency-Key': key };
      const response = await fetch(`${origin}/generate`, { method: 'POST', headers, body: JSON.stringify({ prompt }) });
      return [response.status, response.headers.get('idempotency-replayed'), await response.json()];
    };
    const first = { run: 1, body: { prompt: 'a cat' } };
    expect(await ask('one')).toEqual([200, null, first]);
    expect(await ask('"one"')).toEqual([200, 'true', first]);
    expect(await ask('one', 'a dog')).toMatchObject([422, null, { code: 'idempotency-key-reused' }]);
    expect(await ask('two', 'a dog')).toEqual([200, null, { run: 2, body: { prompt: 'a dog' } }]);
  });

  program('own-usage', async ({ app }) => {
    const origin = await originOf(app.listen(0, '127.0.0.1'));
    const get = async (path: string, client: string) =>
      (await fetch(`${origin}${path}`, { headers: { 'X-API-Key': `c4n4ry-key-of-${client}-000000` } })).json();
    await get('/usage', 'two');
    await get('/usage?client=two', 'one');
    expect(await get('/usage', 'one')).toMatchObject({ client: 'one', requests: 1, refusals: {} });
    expect(await get('/usage?client=one', 'two')).toMatchObject({ client: 'two', requests: 1 });
    expect(await get('/usage', 'nobody')).toMatchObject({ code: 'credentials-invalid' });
  });

  program('operator-page', async ({ app }) => {
    const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    const origin = await originOf(app.listen(0, '127.0.0.1'));
    const image = async () => {
      const headers = { Authorization: 'Bearer c4n4ry-key-of-one-000000' };
      return (await fetch(`${origin}/image`, { headers })).status;
    };
    const admin = { Authorization: `Bearer ${ENVIRONMENT.ADMIN_API_KEY}`, 'Content-Type': 'application/json' };
    expect(await image()).toBe(200);
    expect((await fetch(`${origin}/admin/desk`)).headers.get('content-type')).toContain('text/html');
    expect((await fetch(`${origin}/admin/desk/state`)).status).toBe(401);
    const state = await (await fetch(`${origin}/admin/desk/state`, { headers: admin })).json();
    expect(state).toMatchObject({ snapshot: { name: 'Image service', clients: [{ client: 'one', requests: 1 }] } });
    const body = JSON.stringify({ client: 'one' });
    const acted = await fetch(`${origin}/admin/desk/actions/suspend`, { method: 'POST', headers: admin, body });
    expect([acted.status, await image()]).toEqual([200, 403]);
    const request = { ip: '127.0.0.1', requestId: acted.headers.get('x-request-id') };
    expect(request.requestId).toMatch(/./);
    const recorded = { action: 'suspend', client: 'one', result: 'done', by: 'admin', ...request };
    expect(log.mock.calls).toContainEqual(['operator', expect.objectContaining(recorded)]);
  });

  it('has no program without a test', () => {
    const names = SNIPPETS.flatMap(({ program }) => program ?? []);
    expect(names.filter((name) => !tested.has(name) && !SERVERS.includes(name))).toEqual([]);
  });
});
