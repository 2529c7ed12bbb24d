import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Docs, readDocs } from '../../examples/ai-factory/docs.js';
import { createServer } from '../../examples/ai-factory/server.js';
import { readSettings } from '../../examples/ai-factory/settings.js';
import { type Logger, textLogger } from '../../examples/text-logger.js';

const KEY = 'sk-test-key-ai-factory-2025-c4n4ry';
const ORIGIN = 'http://localhost:3000';
const STAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/;

let docs: Docs;
let server: Server | undefined;
let printed = '';

beforeAll(async () => {
  docs = await readDocs();
});
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  if (server !== undefined) await once(server, 'close');
  server = undefined;
});

/** Starts the example with the environment of its guide and these variables. */
async function start(env: Readonly<Record<string, string>> = {}, logger?: Logger): Promise<string> {
  printed = '';
  const settings = readSettings({ API_KEY: KEY, CORS_ORIGINS: `${ORIGIN},http://localhost:3001`, ...env });
  const lines =
    logger ??
    textLogger((line) => {
      printed += line;
    });
  server = createAdaptorServer({ fetch: createServer(settings, lines, docs).fetch }) as Server;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const withKey = (headers: Record<string, string> = {}) => ({ headers: { 'X-API-Key': KEY, ...headers } });
const json = async (response: Response) => [response.status, await response.json()] as const;
const post = (url: string, body: string, headers: Record<string, string> = { 'X-API-Key': KEY }) =>
  fetch(`${url}/api/test`, { method: 'POST', body, headers: { 'Content-Type': 'application/json', ...headers } });

// The list in "Test Coverage" of the guide, by its headings.
describe('Health Checks', () => {
  it('need no key', async () => {
    expect((await fetch(`${await start()}/health`)).status).toBe(200);
  });

  it('have the documented format', async () => {
    expect(await json(await fetch(`${await start()}/health`))).toEqual([
      200,
      { status: 'healthy', timestamp: expect.stringMatching(STAMP), version: '1.0.0' },
    ]);
  });
});

describe('Authentication', () => {
  it('accepts a valid key', async () => {
    expect(await json(await fetch(`${await start()}/protected`, withKey()))).toEqual([
      200,
      {
        message: 'Access granted to protected resource',
        api_key: 'sk-test-key...',
        timestamp: expect.stringMatching(STAMP),
      },
    ]);
  });

  it('rejects an invalid key', async () => {
    const response = await fetch(`${await start()}/protected`, { headers: { 'X-API-Key': 'sk-invalid' } });
    expect(await json(response)).toEqual([403, { detail: 'Invalid API Key', timestamp: expect.stringMatching(STAMP) }]);
  });

  it('rejects a missing key', async () => {
    expect(await json(await fetch(`${await start()}/protected`))).toEqual([
      403,
      { detail: 'API key required', timestamp: expect.stringMatching(STAMP) },
    ]);
  });

  it('accepts the header in any case, and several keys', async () => {
    const url = await start({ API_KEY: `${KEY}, sk-another-key-of-2026` });
    for (const [name, key] of [
      ['x-api-key', KEY],
      ['X-API-KEY', 'sk-another-key-of-2026'],
    ] as const) {
      expect((await fetch(`${url}/protected`, { headers: { [name]: key } })).status).toBe(200);
    }
  });

  it('is required for detailed health', async () => {
    const url = await start();
    expect((await fetch(`${url}/health/detailed`)).status).toBe(403);
    expect(await json(await fetch(`${url}/health/detailed`, withKey()))).toEqual([
      200,
      {
        status: 'healthy',
        timestamp: expect.stringMatching(STAMP),
        version: '1.0.0',
        environment: 'production',
        rate_limiting: 'enabled',
        cors_origins: [ORIGIN, 'http://localhost:3001'],
      },
    ]);
  });
});

describe('CORS', () => {
  const preflight = {
    'Access-Control-Request-Method': 'POST',
    'Access-Control-Request-Headers': 'x-api-key,content-type',
  };

  it('sends the CORS headers to an allowed origin', async () => {
    const response = await fetch(`${await start()}/health`, { headers: { Origin: ORIGIN } });
    expect(response.headers.get('access-control-allow-origin')).toBe(ORIGIN);
    expect(response.headers.get('access-control-allow-credentials')).toBe('true');
  });

  it('allows only the listed origins', async () => {
    const url = await start();
    for (const [origin, status] of [
      [ORIGIN, 204],
      ['http://localhost:3001', 204],
      ['http://localhost:3002', 403],
      ['https://evil.example', 403],
    ] as const) {
      const response = await fetch(`${url}/api/test`, { method: 'OPTIONS', headers: { Origin: origin, ...preflight } });
      expect([origin, response.status]).toEqual([origin, status]);
      expect(response.headers.get('access-control-allow-origin')).toBe(status === 204 ? origin : null);
    }
  });

  it('allows the documented methods and all headers, for ten minutes', async () => {
    const response = await fetch(`${await start()}/api/test`, {
      method: 'OPTIONS',
      headers: { Origin: ORIGIN, ...preflight },
    });
    expect(response.headers.get('access-control-allow-methods')).toBe('GET, POST, PUT, DELETE, OPTIONS');
    expect(response.headers.get('access-control-allow-headers')).toBe('x-api-key, content-type');
    expect(response.headers.get('access-control-max-age')).toBe('600');
  });
});

describe('Security Headers', () => {
  const EXPECTED = {
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'X-XSS-Protection': '1; mode=block',
    'Strict-Transport-Security': 'max-age=31536000',
    'Referrer-Policy': 'strict-origin-when-cross-origin',
    'Permissions-Policy': 'geolocation=(), microphone=(), camera=()',
  };
  it.each(Object.entries(EXPECTED))('sends %s: %s', async (name, value) => {
    expect((await fetch(`${await start()}/health`)).headers.get(name)).toBe(value);
  });

  it('are all on every response', async () => {
    const url = await start({ RATE_LIMIT_REQUESTS: '3' });
    for (const path of ['/health', '/protected', '/nowhere', '/docs', '/openapi.json']) {
      const { headers } = await fetch(`${url}${path}`);
      for (const [name, value] of Object.entries(EXPECTED)) expect([path, headers.get(name)]).toEqual([path, value]);
    }
  });
});

describe('Rate Limiting', () => {
  it('counts by address', async () => {
    const url = await start({ RATE_LIMIT_REQUESTS: '2', TRUSTED_PROXIES: 'loopback' });
    const from = (ip: string) => fetch(`${url}/protected`, withKey({ 'X-Forwarded-For': ip }));
    expect([(await from('192.0.2.1')).status, (await from('192.0.2.1')).status]).toEqual([200, 200]);
    const refused = await from('192.0.2.1');
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await json(refused)).toEqual([
      429,
      { detail: 'Rate limit exceeded. Max 2 requests per 60s', timestamp: expect.stringMatching(STAMP) },
    ]);
    expect((await from('192.0.2.2')).status).toBe(200);
  });

  it('exempts the health check', async () => {
    const url = await start({ RATE_LIMIT_REQUESTS: '1' });
    for (let i = 0; i < 5; i++) expect((await fetch(`${url}/health`)).status).toBe(200);
    expect((await fetch(`${url}/protected`, withKey())).status).toBe(200);
    expect((await fetch(`${url}/protected`, withKey())).status).toBe(429);
    expect((await fetch(`${url}/health`)).status).toBe(200);
  });

  it('forgets old requests', async () => {
    const url = await start({ RATE_LIMIT_REQUESTS: '1', RATE_LIMIT_PERIOD_SECONDS: '1' });
    expect((await fetch(`${url}/protected`, withKey())).status).toBe(200);
    const refused = await fetch(`${url}/protected`, withKey());
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1']);
    await expect.poll(async () => (await fetch(`${url}/protected`, withKey())).status, { timeout: 5000 }).toBe(200);
  });
});

describe('API Endpoints', () => {
  it('runs a test on /api/test', async () => {
    const body = { test_name: 'sample_test', iterations: 10, timeout: 30 };
    expect(await json(await post(await start(), JSON.stringify(body)))).toEqual([
      200,
      {
        success: true,
        test_id: expect.stringMatching(/^test_\d{8}_\d{6}$/),
        received_data: body,
        timestamp: expect.stringMatching(STAMP),
      },
    ]);
  });

  it('requires a key for /api/test', async () => {
    expect((await post(await start(), '{"test_name":"x"}', {})).status).toBe(403);
  });

  it('reports the configuration on /api/status', async () => {
    const url = await start({ RATE_LIMIT_REQUESTS: '100' });
    expect(await json(await fetch(`${url}/api/status`, withKey()))).toEqual([
      200,
      {
        api_status: 'running',
        authentication: 'enabled',
        rate_limiting: { enabled: true, limit: '100 requests per 60s' },
        cors: { allowed_origins: [ORIGIN, 'http://localhost:3001'] },
        timestamp: expect.stringMatching(STAMP),
      },
    ]);
  });
});

describe('Error Handling', () => {
  it('responds with 404 to an unknown path', async () => {
    expect(await json(await fetch(`${await start()}/nowhere`))).toEqual([
      404,
      { detail: 'Not Found', timestamp: expect.stringMatching(STAMP) },
    ]);
  });

  it('uses one format for every error', async () => {
    const url = await start({ RATE_LIMIT_REQUESTS: '4' });
    const twice = { headers: [['X-API-Key', KEY] as [string, string], ['X-API-Key', KEY] as [string, string]] };
    const responses = [
      await fetch(`${url}/protected`),
      await fetch(`${url}/protected`, twice),
      await post(url, '{}'),
      await post(url, 'x'.repeat(100_000)),
      await fetch(`${url}/protected`),
      await fetch(`${url}/protected`, { headers: { Host: 'evil.test' } }),
    ];
    expect(responses.map(({ status }) => status)).toEqual([403, 400, 422, 413, 429, 429]);
    for (const response of responses) {
      expect(response.headers.get('content-type')).toMatch(/^application\/json/);
      expect(Object.keys((await response.json()) as object)).toEqual(['detail', 'timestamp']);
    }
  });

  it('reports a body that is not JSON', async () => {
    const url = await start();
    for (const body of ['{"test_name":', '', 'c4n4ry']) {
      expect([body, ...(await json(await post(url, body)))]).toEqual([
        body,
        422,
        {
          detail: [{ type: 'json_invalid', loc: ['body'], msg: 'The body is not JSON.' }],
          timestamp: expect.stringMatching(STAMP),
        },
      ]);
    }
  });

  it.each<[string, string, readonly string[]]>([
    ['an array', '[]', ['body']],
    ['null', 'null', ['body']],
    ['a missing field', '{"iterations":1}', ['body', 'test_name']],
  ])('reports %s', async (_what, body, loc) => {
    const [status, { detail }] = (await json(await post(await start(), body))) as [number, { detail: object[] }];
    expect(status).toBe(422);
    expect(detail[0]).toMatchObject({ loc, msg: expect.any(String) });
    expect(detail[0]).not.toMatchObject({ type: 'json_invalid' });
  });
});

describe('Request Headers', () => {
  it('sends X-Request-ID, and keeps the one of the client', async () => {
    const url = await start();
    expect((await fetch(`${url}/health`)).headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    const withId = await fetch(`${url}/protected`, { headers: { 'X-Request-ID': 'mine-1' } });
    expect(withId.headers.get('x-request-id')).toBe('mine-1');
  });

  it('sends X-Process-Time', async () => {
    const url = await start();
    for (const path of ['/health', '/protected', '/nowhere']) {
      expect((await fetch(`${url}${path}`)).headers.get('x-process-time')).toMatch(/^\d+\.\d+$/);
    }
  });
});

describe('Settings', () => {
  it('are read from the environment', () => {
    expect(readSettings({ API_KEY: KEY, DEBUG: 'true', PORT: '9000' })).toMatchObject({
      apiKeys: [KEY],
      debug: true,
      port: 9000,
      host: '127.0.0.1',
    });
    expect(() => readSettings({ API_KEY: 'short', DEBUG: 'perhaps', PORT: 'x' })).toThrow(/API_KEY.*DEBUG.*PORT/s);
    expect(() => readSettings({ HOST: '0.0.0.0' })).toThrow(/API_KEY/);
    expect(() => readSettings({ NODE_ENV: 'production' })).toThrow(/API_KEY/);
    expect(() => readSettings({ ENVIRONMENT: 'production' })).toThrow(/API_KEY/);
    expect(readSettings({}).apiKeys[0]).toMatch(/^sk-test-[0-9a-f]{32}$/);
  });

  it.each(['', '  '])('treat variables that are %j as not set', (empty) => {
    const names = ['API_KEY', 'CORS_ORIGINS', 'TRUSTED_HOSTS', 'TRUSTED_PROXIES', 'RATE_LIMIT_ENABLED', 'DEBUG'];
    const more = ['RATE_LIMIT_REQUESTS', 'RATE_LIMIT_PERIOD_SECONDS', 'HOST', 'PORT', 'NODE_ENV', 'ENVIRONMENT'];
    const settings = readSettings(Object.fromEntries([...names, ...more].map((name) => [name, empty])));
    expect(settings).toEqual({ ...readSettings({}), apiKeys: [expect.stringMatching(/^sk-test-/)] });
  });

  it.each([
    ['a short key', 'c4n4ry', 'must be at least 16 characters'],
    ['only commas', 'c4n4ry'.replace(/./g, ','), 'must be at least 16 characters'],
    ['an empty key', `${KEY},`, 'apiKeys'],
    ['a repeated key', `${KEY},${KEY}`, 'has the same key as'],
    ['a key with a space', 'c4n4ry of a client 0123', 'must have only visible ASCII characters'],
  ])('explain %s without showing it', (_what, API_KEY, rule) => {
    expect(() => readSettings({ API_KEY })).toThrow('"API_KEY"');
    expect(() => readSettings({ API_KEY })).toThrow(rule);
    expect(() => readSettings({ API_KEY })).not.toThrow(/c4n4ry/);
  });

  it('take Cloudflare as a proxy', async () => {
    const url = await start({ RATE_LIMIT_REQUESTS: '1', TRUSTED_PROXIES: 'cloudflared' });
    const from = async (ip: string) => (await fetch(`${url}/protected`, withKey({ 'CF-Connecting-IP': ip }))).status;
    expect([await from('192.0.2.1'), await from('192.0.2.1'), await from('192.0.2.2')]).toEqual([200, 429, 200]);
    expect(readSettings({ TRUSTED_PROXIES: 'cloudflare' }).trustedProxies).toEqual(['cloudflare']);
    expect(() => readSettings({ TRUSTED_PROXIES: 'cloudfare' })).toThrow(/TRUSTED_PROXIES.*'cloudfare'/);
  });

  it('list the CORS origins', () => {
    expect(readSettings({ CORS_ORIGINS: 'https://yourdomain.com, https://app.yourdomain.com' }).corsOrigins).toEqual([
      'https://yourdomain.com',
      'https://app.yourdomain.com',
    ]);
    expect(() => readSettings({ CORS_ORIGINS: 'https://yourdomain.com/' })).toThrow(/CORS_ORIGINS/);
    expect(() => readSettings({ CORS_ORIGINS: '*' })).toThrow(/CORS_ORIGINS/);
  });

  it('set the rate limit, or turn it off', async () => {
    expect(readSettings({ RATE_LIMIT_REQUESTS: '7', RATE_LIMIT_PERIOD_SECONDS: '30' }).rateLimit).toEqual({
      enabled: true,
      requests: 7,
      period: '30s',
    });
    expect(readSettings({ RATE_LIMIT_PERIOD_SECONDS: '2m' }).rateLimit.period).toBe('2m');
    const url = await start({ RATE_LIMIT_ENABLED: 'false', RATE_LIMIT_REQUESTS: '1' });
    for (let i = 0; i < 3; i++) expect((await fetch(`${url}/protected`, withKey())).status).toBe(200);
  });
});

// Not in the guide's list.
describe('the AI Factory server', () => {
  it('serves its pages without loading anything from other hosts', async () => {
    const url = await start();
    for (const page of ['/docs', '/redoc']) {
      const response = await fetch(`${url}${page}`);
      const html = await response.text();
      expect(response.headers.get('content-security-policy')).toContain("default-src 'self'");
      expect(html).not.toMatch(/https?:/);
      for (const [, path] of html.matchAll(/(?:src|href)="([^"]+)"/g)) {
        expect([path, (await fetch(`${url}${path}`)).status]).toEqual([path, 200]);
      }
    }
    expect((await fetch(`${url}/docs/package.json`)).status).toBe(404);
    const description = (await (await fetch(`${url}/openapi.json`)).json()) as { paths: object; components: object };
    expect(description).toMatchObject({
      openapi: '3.1.0',
      components: { securitySchemes: { APIKeyHeader: { type: 'apiKey', in: 'header', name: 'X-API-Key' } } },
    });
    expect(Object.keys(description.paths)).toEqual([
      '/health',
      '/health/detailed',
      '/protected',
      '/api/test',
      '/api/status',
    ]);
  });

  it('says on / what it is', async () => {
    const response = await fetch(await start());
    expect(await json(response)).toEqual([
      200,
      expect.objectContaining({
        service: 'AI Factory Testing Server',
        documentation: expect.arrayContaining(['/docs']),
      }),
    ]);
  });

  it('logs as the guide shows, without any key', async () => {
    const url = await start({ RATE_LIMIT_REQUESTS: '2' });
    await fetch(`${url}/health?key=${KEY}`, { headers: { 'X-Request-ID': 'r-1' } });
    await fetch(`${url}/protected`, { headers: { 'X-API-Key': 'sk-invalid-c4n4ry' } });
    await fetch(`${url}/protected`, withKey());
    await fetch(`${url}/protected`, withKey());
    const lines = () => printed.trimEnd().split('\n');
    await expect.poll(() => lines().length).toBe(9);
    const time = '^\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d,\\d{3} - server - ';
    const expected = [
      'INFO - \\[r-1\\] GET /health$',
      'INFO - \\[r-1\\] 200 - \\d+\\.\\d{3}s ',
      'INFO - \\[[0-9a-f-]{36}\\] GET /protected$',
      'WARNING - Invalid API key attempt: ([0-9a-f]{12})\\.\\.\\.$',
      'WARNING - \\[[0-9a-f-]{36}\\] 403 - \\d+\\.\\d{3}s .*keyHash="[0-9a-f]{12}"',
      'INFO - \\[[0-9a-f-]{36}\\] GET /protected$',
      'INFO - \\[[0-9a-f-]{36}\\] 200 - ',
      'INFO - \\[[0-9a-f-]{36}\\] GET /protected$',
      'WARNING - \\[[0-9a-f-]{36}\\] 429 - .*code="quota-exceeded"',
    ];
    expected.forEach((line, i) => {
      expect(lines()[i]).toMatch(new RegExp(`${time}${line}`));
    });
    expect(printed).not.toMatch(/sk-|c4n4ry/);
  });

  it('refuses a request for another host name', async () => {
    const url = await start({ TRUSTED_HOSTS: 'api.yourdomain.com' });
    const response = await fetch(`${url}/health`);
    expect([response.status, Object.keys((await response.json()) as object)]).toEqual([400, ['detail', 'timestamp']]);
  });
});
