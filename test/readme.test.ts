import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
// Inside the package's scope, so that `gatewarden` resolves to the built package by its own name.
const FOLDER = join(ROOT, '.cache/readme');

/** The README's quick start as it stands, started on a free port; gives the URL and the header of its curl line. */
async function startQuickStart() {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  const code = /```js\n(\/\/ server\.mjs\n[\s\S]*?)```/.exec(readme)?.[1];
  if (code === undefined) throw new Error('the README has no quick start');
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(join(FOLDER, 'server.mjs'), code);
  const { SECRET_KEY: _secret, ...environment } = process.env;
  const child = spawn(process.execPath, [join(FOLDER, 'server.mjs')], {
    env: { ...environment, PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let line = '';
  for await (line of createInterface({ input: child.stdout })) break;
  const [, url = '', authorization = ''] = /^curl -i -X POST (\S+) -H "Authorization: (.+)"$/.exec(line) ?? [];
  return { child, url, authorization };
}

describe('the quick start of the README', () => {
  let server: Awaited<ReturnType<typeof startQuickStart>>;

  beforeAll(async () => {
    server = await startQuickStart();
  });

  afterAll(async () => {
    if (server.child.exitCode === null) {
      server.child.kill();
      await once(server.child, 'exit');
    }
    rmSync(FOLDER, { recursive: true });
  });

  it('answers three times and then with the 429 that is shown', async () => {
    const post = () => fetch(server.url, { method: 'POST', headers: { Authorization: server.authorization } });
    for (let i = 0; i < 3; i++) {
      const response = await post();
      expect(response.status).toBe(200);
      expect(await response.json()).toEqual({ caller: 'shared-secret', ip: '127.0.0.1' });
    }
    const refused = await post();
    expect(refused.status).toBe(429);
    expect(refused.headers.get('RateLimit-Policy')).toBe('"60s";q=3;w=60, "daily";q=100;w=86400');
    expect(refused.headers.get('RateLimit')).toMatch(/^"60s";r=0;t=\d+, "daily";r=97;t=\d+$/);
    expect(Number(refused.headers.get('Retry-After'))).toBeGreaterThan(0);
    expect(refused.headers.get('Content-Type')).toBe('application/problem+json');
    expect(await refused.json()).toMatchObject({ code: 'quota-exceeded', 'violated-policies': ['60s'] });
  });

  it('answers 401 without the header, 401 invalid_token to a wrong one, and is open at /health', async () => {
    const bare = await fetch(server.url, { method: 'POST' });
    expect([bare.status, bare.headers.get('WWW-Authenticate')]).toEqual([401, 'Bearer realm="api"']);
    const wrong = await fetch(server.url, { method: 'POST', headers: { Authorization: 'Bearer wrong' } });
    expect([wrong.status, wrong.headers.get('WWW-Authenticate')]).toEqual([
      401,
      'Bearer realm="api", error="invalid_token"',
    ]);
    const health = await fetch(new URL('/health', server.url));
    expect([health.status, health.headers.get('X-Frame-Options')]).toEqual([200, 'DENY']);
  });
});
