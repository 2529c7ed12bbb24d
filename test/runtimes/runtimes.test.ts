import { describe, expect, it } from 'vitest';
import { signRequest } from '../../src/index.js';
// @ts-expect-error A program in JavaScript, which has no types.
import { API_KEY, SECRET } from './programs/service.js';
import { RUNTIMES, start } from './runtimes.js';

describe.each(RUNTIMES)('$name', (runtime) => {
  const { name, binary } = runtime;
  if (binary === undefined) console.log(`skipped: there is no ${name} for this machine in node_modules`);

  it.skipIf(binary === undefined)('serves guarded requests with the built package', { timeout: 60_000 }, async () => {
    const origin = await start(runtime);
    const caller = { 'CF-Connecting-IP': '127.0.0.1' };
    const get = (path: string, headers: Record<string, string> = {}) =>
      fetch(origin + path, { headers: { ...caller, ...headers }, signal: AbortSignal.timeout(10_000) });

    const anonymous = await get('/generate');
    expect(anonymous.status).toBe(401);
    expect(anonymous.headers.get('www-authenticate')).toBe('X-API-Key realm="api", Bearer realm="api"');
    expect(anonymous.headers.get('content-type')).toBe('application/problem+json');
    expect(anonymous.headers.get('x-content-type-options')).toBe('nosniff');
    expect(anonymous.headers.get('x-process-time')).toMatch(/^\d+\.\d{6}$/);
    expect(await anonymous.json()).toMatchObject({
      code: 'credentials-missing',
      requestId: anonymous.headers.get('x-request-id'),
    });
    expect((await get('/generate', { 'X-API-Key': 'wrong-key-wrong-key-wrong-key' })).status).toBe(401);

    for (const remaining of [1, 0]) {
      const admitted = await get('/generate', { 'X-API-Key': API_KEY });
      expect(admitted.status).toBe(200);
      expect(await admitted.json()).toEqual({ id: 'api-key', ip: '127.0.0.1' });
      expect(admitted.headers.get('ratelimit')).toContain(`r=${remaining}`);
    }
    const refused = await get('/generate', { 'X-API-Key': API_KEY });
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await refused.json()).toMatchObject({ code: 'quota-exceeded' });
    expect((await get('/generate', { Authorization: `Bearer ${SECRET}` })).status).toBe(200);

    expect((await get('/scoped', { Authorization: `Bearer ${SECRET}` })).status).toBe(403);
    const token = await (await get('/token')).text();
    const verified = await get('/jwt', { Authorization: `Bearer ${token}` });
    expect([verified.status, await verified.text()]).toEqual([200, 'alice']);

    // Options that warn.
    for (const path of ['/bypass', '/ingest', '/weak', '/without-client-ip']) {
      expect([path, (await get(path, { 'X-API-Key': 'short-key' })).status]).toEqual([path, 200]);
    }

    const slow = await get('/slow', { 'X-API-Key': API_KEY });
    expect([slow.status, slow.headers.get('retry-after')]).toEqual([503, '5']);

    const { lines, records } = (await (await get('/told')).json()) as Record<
      'lines' | 'records',
      { keyHash?: string }[]
    >;
    expect(lines.length).toBe(13);
    expect(records.map(({ keyHash }) => keyHash).filter((hash) => hash !== undefined)).toEqual(
      Array(9).fill(expect.stringMatching(/^[0-9a-f]{12}$/)),
    );
  });

  it.skipIf(binary === undefined)('verifies signed requests', { timeout: 60_000 }, async () => {
    const origin = await start(runtime);
    const url = `${origin}/signed`;
    const post = (body: string, headers: Record<string, string>) =>
      fetch(url, { method: 'POST', body, headers, signal: AbortSignal.timeout(10_000) });
    const sign = (keyId: string, secret: string) => signRequest({ keyId, secret, method: 'POST', url, body: 'hello' });

    expect((await post('hello', sign('unknown', SECRET))).status).toBe(401);
    expect((await post('hello', sign('runtime', SECRET.replace('r', 'x')))).status).toBe(401);
    await expect
      .poll(async () => (await post('hello', sign('runtime', SECRET))).status, { interval: 200, timeout: 5000 })
      .toBe(200);
    const headers = sign('runtime', SECRET);
    const accepted = await post('hello', headers);
    expect([accepted.status, await accepted.text()]).toEqual([200, 'hello']);
    expect((await post('hello', headers)).status).toBe(401);
  });
});
