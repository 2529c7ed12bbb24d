import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Express } from 'express';
import sharp from 'sharp';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { AuditRecord, Guard, QuotaState, SignatureHeaders } from '../src/index.js';
import { ask, type HeaderLine, type TestExchangeOptions } from './exchange-fixture.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FOLDER = join(ROOT, '.cache/readme-ways-in');
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');

const EXAMPLES = new Map<string, string>();
for (const [, code = '', name = ''] of README.matchAll(/```js\n(\/\/ ([\w-]+)\.mjs\n[\s\S]*?)```/g)) {
  if (name !== 'server') EXAMPLES.set(name, code);
}

const ENVIRONMENT = {
  API_KEYS: 'c4n4ry-key-of-one-000000:one:2, c4n4ry-key-of-two-000000:two:1',
  ADMIN_API_KEY: 'c4n4ry-key-of-the-admin-000000',
  JWT_SECRET: 'c4n4ry-jwt-secret-0123456789-0123456789',
  ACCESS_TEAM: 'my-team',
  ACCESS_AUD: 'aud-tag',
  INGEST_TOKEN: 'c4n4ry-ingest-token-0123',
  SIGNING_SECRET: 'c4n4ry-signing-secret-0123456789-0123456789',
  ENVIRONMENT: 'development',
  NODE_ENV: 'test',
  SECRET_KEY: 'c4n4ry-shared-secret-0123456789-0123456789',
};

interface Example {
  readonly app: Express;
  readonly way: Guard;
  readonly key: string;
  usageOf(ip: string): Promise<readonly QuotaState[]>;
  forgive(ip: string): Promise<void>;
  readonly keys: { replace(records: readonly object[]): void };
  readonly record: object;
  readonly records: AuditRecord[];
  tokenFor(user: string): Promise<string>;
  headersFor(method: string, url: string, body?: string): SignatureHeaders;
}

async function example(name: string): Promise<Example> {
  const code = EXAMPLES.get(name);
  if (code === undefined) throw new Error(`the README has no ${name}.mjs`);
  const file = join(FOLDER, `${name}.mjs`);
  await writeFile(file, code);
  return (await import(/* @vite-ignore */ file)) as Example;
}

const bearer = (token: string): HeaderLine => ['Authorization', `Bearer ${token}`];

/** 200 where the request goes on. */
async function send({ way }: Example, ...headers: HeaderLine[]): Promise<number | undefined> {
  return sendWith(way, { headers });
}
async function sendWith(way: Guard, options: TestExchangeOptions): Promise<number | undefined> {
  const { passed, status, faults } = await ask(way, options);
  expect(faults).toEqual([]);
  return passed ? 200 : status;
}

describe("the README's way in by", () => {
  beforeAll(() => mkdir(FOLDER, { recursive: true }));
  beforeEach(() => {
    for (const [name, value] of Object.entries(ENVIRONMENT)) vi.stubEnv(name, value);
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  });
  afterAll(() => rm(FOLDER, { recursive: true, force: true }));

  const tested = new Set<string>();
  const by = (name: string, test: (found: Example) => Promise<void>) => {
    tested.add(name);
    it(name, async () => test(await example(name)));
  };

  by('edge', async (found) => {
    vi.spyOn(console, 'info').mockImplementation(() => undefined);
    vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    const host: HeaderLine = ['Host', 'api.example.com'];
    const of = (ip: string): HeaderLine[] => [host, bearer(ENVIRONMENT.SECRET_KEY), ['X-Original-IP', ip]];
    expect(await send(found)).toBe(400);
    expect(await send(found, host, ['Origin', 'https://a.example.org'])).toBe(200);
    expect(await send(found, host, bearer('wrong'))).toBe(401);
    for (let i = 0; i < 60; i++) expect(await send(found, ...of('203.0.113.7'))).toBe(200);
    expect(await send(found, ...of('203.0.113.7'))).toBe(403);
    expect(await send(found, ...of('203.0.113.8'))).toBe(200);
    expect(await found.usageOf('203.0.113.7')).toMatchObject([{ remaining: 0 }]);
    await found.forgive('203.0.113.7');
    expect(await send(found, ...of('203.0.113.7'))).toBe(200);
  });

  by('api-keys', async (found) => {
    expect(await send(found, ['X-API-Key', found.key])).toBe(200);
    expect(await send(found, bearer(found.key))).toBe(200);
    expect(await send(found, ['X-API-Key', `${found.key}x`])).toBe(401);
    expect(await send(found)).toBe(401);
    found.keys.replace([{ ...found.record, scopes: [] }]);
    expect(await send(found, ['X-API-Key', found.key])).toBe(403);
    found.keys.replace([{ ...found.record, enabled: false }]);
    expect(await send(found, ['X-API-Key', found.key])).toBe(401);
  });

  by('keys-from-a-setting', async (found) => {
    const key = (name: string): HeaderLine => ['X-API-Key', `c4n4ry-key-of-${name}-000000`];
    expect([await send(found, key('one')), await send(found, key('one')), await send(found, key('one'))]).toEqual([
      200, 200, 429,
    ]);
    expect([await send(found, key('two')), await send(found, key('two'))]).toEqual([200, 429]);
    expect([await send(found, key('the-admin')), await send(found, key('the-admin'))]).toEqual([200, 200]);
    expect(await send(found, key('three'))).toBe(401);
  });

  by('jwt', async (found) => {
    const token = await found.tokenFor('alice');
    expect(await send(found, bearer(token))).toBe(200);
    expect(await send(found, bearer(`${token.slice(0, -5)}AAAAA`))).toBe(401);
  });

  by('cloudflare-access', async (found) => {
    expect(await send(found, ['Cf-Access-Authenticated-User-Email', 'a@b.example'])).toBe(401);
    expect(await send(found, ['Cf-Access-Jwt-Assertion', 'not.a.token'])).toBe(401);
  });

  by('ingest-token', async (found) => {
    expect(await send(found, ['X-Ingest-Token', ENVIRONMENT.INGEST_TOKEN])).toBe(200);
    expect(await send(found, ['X-Ingest-Token', 'another-token-entirely'])).toBe(401);
    expect(await send(found)).toBe(401);
  });

  by('signed-request', async (found) => {
    const signed = found.headersFor('GET', 'https://api.example/jobs?page=2');
    const headers: HeaderLine[] = [['Host', 'api.example'], ...Object.entries(signed)];
    expect(await sendWith(found.way, { url: '/jobs?page=3', headers })).toBe(401);
    expect(await sendWith(found.way, { url: '/jobs?page=2', headers })).toBe(200);
    expect(await sendWith(found.way, { url: '/jobs?page=2', headers })).toBe(401);
  });

  by('development', async (found) => {
    expect(await send(found)).toBe(200);
  });

  by('guarded-guessing', async (found) => {
    expect(await send(found, bearer(ENVIRONMENT.SECRET_KEY))).toBe(200);
    const answers: (number | undefined)[] = [];
    for (let i = 0; i < 11; i++) answers.push(await send(found, bearer('wrong')));
    expect(answers).toEqual([...Array.from({ length: 10 }, () => 401), 429]);
    expect(found.records.map(({ reason }) => reason)).toEqual([
      'verified',
      ...Array.from({ length: 10 }, () => 'unknown'),
      'throttled',
    ]);
  });

  by('images', async ({ app }) => {
    const server = app.listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const png = await sharp({ create: { width: 30, height: 20, channels: 3, background: 'red' } })
      .png()
      .toBuffer();
    const found = { type: 'image/png', width: 30, height: 20, bytes: png.length };
    const raw = async (body: Buffer | string) => {
      const response = await fetch(`${origin}/raw`, { method: 'POST', body: new Uint8Array(Buffer.from(body)) });
      return [response.status, response.headers.get('ratelimit'), await response.json()];
    };
    const json = async (body: unknown) => {
      const headers = { 'Content-Type': 'application/json' };
      const response = await fetch(`${origin}/json`, { method: 'POST', headers, body: JSON.stringify(body) });
      return [response.status, await response.json()];
    };
    expect(await raw(png)).toEqual([200, expect.stringContaining('r=59'), found]);
    expect(await json({ image: `data:image/png;base64,${png.toString('base64')}` })).toEqual([200, found]);
    expect(await raw('no image')).toMatchObject([415, expect.any(String), { code: 'upload-type-unsupported' }]);
    expect(await raw('')).toMatchObject([400, expect.any(String), { reason: 'an empty file' }]);
    expect(await raw(png)).toEqual([200, expect.stringContaining('r=57'), found]);
    for (const image of [undefined, null, 5, {}, [], ['abc'], [137, 80]]) {
      expect(await json({ image })).toMatchObject([400, { reason: 'no image' }]);
    }
  });

  it('none that is not tested here', () => {
    expect([...EXAMPLES.keys()].filter((name) => !tested.has(name))).toEqual([]);
  });
});
