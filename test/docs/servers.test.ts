import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requestOf } from './curl.js';
import { ENVIRONMENT } from './environment.js';
import { pageText } from './snippets.js';
import { SERVER_FOLDER, SERVERS, type Started, started } from './started.js';

const AUTHORIZED = { Authorization: `Bearer ${ENVIRONMENT.SECRET_KEY}` };

/** The `curl` lines of a page that call `localhost:3000/generate`. */
function curlLines(page: string): readonly string[] {
  return [...pageText(page).matchAll(/^curl .*localhost:3000\/generate.*$/gm)].map(([line]) => line);
}

describe.concurrent('a server of the documentation, run as it is:', () => {
  const servers = new Map<string, Started>();
  const at = (name: string) => {
    const server = servers.get(name);
    if (server === undefined) throw new Error(`${name} has not started`);
    return server.origin;
  };
  const post = (name: string, headers: Readonly<Record<string, string>> = {}) =>
    fetch(`${at(name)}/generate`, { method: 'POST', headers });

  beforeAll(async () => {
    await Promise.all(SERVERS.map(async (name) => servers.set(name, await started(name))));
  }, 30_000);
  afterAll(async () => {
    await Promise.all([...servers.values()].map((server) => server.stop()));
    await rm(SERVER_FOLDER, { recursive: true, force: true });
  });

  it('the quick start answers its curl lines with 200 and 401, and the 61st request with the 429 that is shown', async () => {
    const lines = curlLines('README.md');
    const statuses: number[] = [];
    for (const line of lines) {
      const response = await fetch(requestOf(line, at('quick-start'), ENVIRONMENT));
      statuses.push(response.status);
      if (response.status === 200) expect(await response.json()).toEqual({ ok: true });
      expect(response.headers.get('X-Frame-Options')).toBe('DENY');
    }
    expect(statuses).toEqual([200, 401]);
    for (let i = 1; i < 60; i++) expect((await post('quick-start', AUTHORIZED)).status).toBe(200);
    const refused = await post('quick-start', AUTHORIZED);
    expect(refused.status).toBe(429);
    expect(refused.headers.get('RateLimit-Policy')).toBe('"60s";q=60;w=60');
    expect(refused.headers.get('RateLimit')).toMatch(/^"60s";r=0;t=\d+$/);
    expect(Number(refused.headers.get('Retry-After'))).toBeGreaterThan(0);
    expect(refused.headers.get('Cache-Control')).toBe('no-store');
    expect(refused.headers.get('Content-Type')).toBe('application/problem+json');
    const shown = JSON.parse(/\{"type":[\s\S]*?, \.\.\.\}/.exec(pageText('README.md'))?.[0].replace(', ...', '') ?? '');
    expect(await refused.json()).toMatchObject(shown);
  });

  it('the Express server answers its curl line three times, and then with 429', async () => {
    const [line = ''] = curlLines('docs/getting-started.md');
    const send = () => fetch(requestOf(line, at('express-server'), ENVIRONMENT));
    for (let i = 0; i < 3; i++) {
      const response = await send();
      expect(response.status).toBe(200);
      expect(await response.json()).toEqual({
        caller: 'shared-secret',
        ip: expect.stringMatching(/^(127\.0\.0\.1|::1)$/),
      });
    }
    const refused = await send();
    expect(refused.status).toBe(429);
    expect(refused.headers.get('RateLimit-Policy')).toBe('"60s";q=3;w=60, "daily";q=100;w=86400');
    expect(refused.headers.get('RateLimit')).toMatch(/^"60s";r=0;t=\d+, "daily";r=97;t=\d+$/);
    expect(await refused.json()).toMatchObject({ code: 'quota-exceeded', 'violated-policies': ['60s'] });
  });

  it('the Express server answers 401 without credentials and to a wrong secret, and is open at /health', async () => {
    const bare = await post('express-server');
    expect([bare.status, bare.headers.get('WWW-Authenticate')]).toEqual([401, 'Bearer realm="api"']);
    const wrong = await post('express-server', { Authorization: 'Bearer wrong' });
    expect([wrong.status, wrong.headers.get('WWW-Authenticate')]).toEqual([
      401,
      'Bearer realm="api", error="invalid_token"',
    ]);
    const health = await fetch(`${at('express-server')}/health`);
    expect([health.status, health.headers.get('X-Frame-Options')]).toEqual([200, 'DENY']);
  });

  it('the server with keys from a setting gives each client its limit, and its usage to the administrator only', async () => {
    const name = 'keys-from-a-setting';
    const keyOf = (client: string) => ({ 'X-API-Key': `c4n4ry-key-of-${client}-000000` });
    const statuses: number[] = [];
    for (const client of ['one', 'one', 'one', 'two', 'two', 'the-admin', 'the-admin', 'nobody']) {
      statuses.push((await post(name, keyOf(client))).status);
    }
    expect(statuses).toEqual([200, 200, 429, 200, 429, 200, 200, 401]);
    const admin = await post(name, keyOf('the-admin'));
    expect(admin.headers.get('RateLimit-Policy')).toBe('"hourly";q=1000;w=3600');
    const usage = async (client: string, by: string) => {
      const response = await fetch(`${at(name)}/admin/usage/${client}`, { headers: keyOf(by) });
      expect(response.headers.get('RateLimit')).toBeNull();
      return [response.status, await response.json()];
    };
    expect(await usage('two', 'the-admin')).toMatchObject([200, [{ name: 'hourly', limit: 1, remaining: 0 }]]);
    expect(await usage('admin', 'the-admin')).toMatchObject([200, [{ limit: 1000, remaining: 997 }]]);
    expect(await usage('nobody', 'the-admin')).toMatchObject([404, {}]);
    expect(await usage('two', 'one')).toMatchObject([403, { code: 'scope-insufficient' }]);
  });

  for (const name of ['fastify-server', 'hono-server']) {
    it(`the ${name} lets the secret in and nothing else`, async () => {
      const right = await post(name, AUTHORIZED);
      expect([right.status, await right.json()]).toEqual([200, { caller: 'shared-secret' }]);
      expect(right.headers.get('X-Frame-Options')).toBe('DENY');
      expect((await post(name)).status).toBe(401);
      expect((await post(name, { Authorization: 'Bearer wrong' })).status).toBe(401);
    });
  }
});
