import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { moduleOf, SNIPPETS } from '../docs/snippets.js';
import { Client } from '../raw-client.js';
import { PROGRAMS, startProgram, WEB_RUNTIMES, type WebRuntime } from './runtimes/start.js';

const SECRET_KEY = 'runtime-test-secret-0123456789-abcdef';
const SECRET = { Authorization: `Bearer ${SECRET_KEY}` };

describe.each(WEB_RUNTIMES)('guarded on $name', (runtime) => {
  const { name, binary } = runtime;
  let port: number;
  let stop: () => Promise<void> = async () => undefined;

  beforeAll(async () => {
    if (binary === undefined) return;
    ({ port, stop } = await startProgram(runtime, { file: join(PROGRAMS, `${name}.ts`) }, SECRET_KEY));
  }, 60_000);
  afterAll(() => stop());

  const ask = (path: string, init: RequestInit = {}) =>
    fetch(`http://127.0.0.1:${port}${path}`, { ...init, signal: AbortSignal.timeout(5000) });
  const outcomes = async () => (await (await ask('/outcomes')).json()) as unknown[];
  const ended = async (...expected: readonly unknown[]) => {
    const seen: unknown[] = [];
    await expect
      .poll(
        async () => {
          seen.push(...(await outcomes()));
          return seen;
        },
        { timeout: 5000, interval: 20 },
      )
      .toEqual(expected);
  };
  const promise = it.skipIf(binary === undefined);

  promise('refuses, admits, and sends the headers of guards', async () => {
    const refused = await ask('/secret');
    expect([refused.status, await refused.json()]).toMatchObject([401, { code: 'credentials-missing' }]);
    expect(refused.headers.get('x-content-type-options')).toBe('nosniff');
    const admitted = await ask('/secret', { headers: SECRET });
    expect([admitted.status, await admitted.json()]).toEqual([200, 'shared-secret']);
    expect(admitted.headers.get('x-content-type-options')).toBe('nosniff');
  });

  promise('knows the address of the client', async () => {
    const response = await ask('/address', { headers: { 'CF-Connecting-IP': '192.0.2.7' } });
    // workerd is told that the request came through Cloudflare.
    expect(await response.json()).toBe(name === 'workerd' ? '192.0.2.7' : '127.0.0.1');
    await ended({ kind: 'completed', status: 200 });
  });

  it.skipIf(binary === undefined || name !== 'bun')('knows the parameters of a route', async () => {
    expect(await (await ask('/params/a%2Fb')).json()).toBe('a/b');
  });

  promise('knows the length of a body that is in memory', async () => {
    const response = await ask('/address');
    // workerd does not show that a body is in memory.
    if (name !== 'workerd') expect(Number(response.headers.get('content-length'))).toBeGreaterThan(0);
    await response.text();
    await ended({ kind: 'completed', status: 200 });
  });

  promise('leaves the body of a request to the handler', async () => {
    const response = await ask('/upload', { method: 'POST', body: new Uint8Array(100_000) });
    expect(await response.text()).toBe('100000');
    await ended({ kind: 'completed', status: 200 });
  });

  promise('holds a slot until a stream has been sent, whole', async () => {
    const [first, second] = [ask('/stream?3'), ask('/stream?3')];
    const statuses = [(await first).status, (await second).status].sort();
    expect(statuses).toEqual([200, 503]);
    const texts = [await (await first).text(), await (await second).text()];
    expect(texts).toContain('line 1\nline 2\nline 3\n');
    await ended({ kind: 'refused', status: 503, code: 'capacity-exceeded' }, { kind: 'completed', status: 200 });
    expect(await (await ask('/stream?3')).text()).toBe('line 1\nline 2\nline 3\n');
    await ended({ kind: 'completed', status: 200 });
  });

  promise('ends the exchange of a client that leaves a stream', async () => {
    const client = await Client.connect(port);
    client.send('GET /stream');
    let text = '';
    while (!text.includes('line 2')) text += String((await once(client.socket, 'data'))[0]);
    client.socket.destroy();
    await ended({ kind: 'aborted' });
    expect(await (await ask('/stream?3')).text()).toContain('line 3');
    await ended({ kind: 'completed', status: 200 });
  });

  promise('ends the exchange of HEAD', async () => {
    const response = await ask('/stream', { method: 'HEAD' });
    expect(response.status).toBe(200);
    await ended({ kind: 'completed', status: 200 });
  });

  promise('ends the exchange of a handler that fails', async () => {
    expect((await ask('/broken')).status).toBe(500);
    await ended({ kind: 'completed', status: 500 });
  });
});

/** What makes the example of the guide print its port, on a port that the system chooses. */
const STARTED: Readonly<Record<string, (code: string) => string>> = {
  bun: (code) => `${code.replace('Bun.serve({', 'const server = Bun.serve({')}
    console.log(JSON.stringify({ port: server.port }));`,
  deno: (code) => code.replace('port: 0', 'port: 0, onListen: (address) => console.log(JSON.stringify(address))'),
  workerd: (code) => code,
};

describe.each(WEB_RUNTIMES.filter(({ name }) => name in STARTED))('the example of the guide for $name', (runtime) => {
  const { name, binary } = runtime;
  it.skipIf(binary === undefined)('refuses without the secret, and serves with it', { timeout: 60_000 }, async () => {
    const [snippet] = SNIPPETS.filter(({ context }) => context === (name === 'workerd' ? 'worker' : name));
    if (snippet === undefined) throw new Error(`the guide has no example for ${name}`);
    const served = await startProgram(runtime, { code: codeOf(snippet, runtime) }, SECRET_KEY);
    try {
      const url = `http://127.0.0.1:${served.port}/generate`;
      const refused = await fetch(url, { method: 'POST' });
      expect([refused.status, await refused.json()]).toMatchObject([401, { code: 'credentials-missing' }]);
      const admitted = await fetch(url, { method: 'POST', headers: SECRET });
      expect([admitted.status, await admitted.json()]).toEqual([
        200,
        name === 'workerd' ? { model: 'small' } : { ok: true },
      ]);
      expect(admitted.headers.get('x-content-type-options')).toBe('nosniff');
    } finally {
      await served.stop();
    }
  });
});

/** The module of an example, with the runtime's own global in place of that of its context. */
function codeOf(snippet: (typeof SNIPPETS)[number], { name }: WebRuntime): string {
  const code = moduleOf(snippet)
    .replace(/^const (Bun|Deno) = .*$/m, '')
    .replace('port: 3000', "hostname: '127.0.0.1', port: 0");
  return STARTED[name]?.(code) ?? code;
}
