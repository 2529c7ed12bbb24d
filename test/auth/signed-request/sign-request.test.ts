import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { inspect, promisify } from 'node:util';
import express from 'express';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { guard } from '../../../src/adapters/express.js';
import { authenticate } from '../../../src/auth/authenticate.js';
import { memoryReplayStore } from '../../../src/auth/signed-request/memory-replay-store.js';
import { type SignRequestOptions, signRequest } from '../../../src/auth/signed-request/sign-request.js';
import { OptionError } from '../../../src/core/option.js';
import { SECOND, SECRET, service } from './signed-request-cases.js';

/** A service with the system clock that answers with the body of the request. */
async function serve(): Promise<string> {
  const app = express();
  app.use(guard(authenticate(service({ now: Date.now, replayStore: memoryReplayStore() }))));
  app.use(express.raw({ type: () => true }));
  app.use((request, response) => {
    response.json({ method: request.method, url: request.originalUrl, body: String(request.body ?? '') });
  });
  const server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const options: SignRequestOptions = {
  keyId: 'current',
  secret: SECRET,
  method: 'POST',
  url: 'https://api.example.com/',
};

describe('signRequest', () => {
  it('makes the headers that the documentation describes', () => {
    const headers = signRequest({
      ...options,
      url: 'https://API.example.com:443/generate/text?steps=64&q=%20é#part',
      method: 'post',
      body: '{"prompt":"a red armchair"}',
      timestamp: SECOND,
      nonce: '8f14e45fceea167a5a36dedd4bea2543',
    });
    // Computed by `openssl dgst` from the eight lines.
    expect(headers).toEqual({
      'Content-Digest': 'sha-256=:+xnbpMeU305D9/30/MgIgp4II48aOUQY05bKqz3Ph2Y=:',
      'X-Key-Id': 'current',
      'X-Nonce': '8f14e45fceea167a5a36dedd4bea2543',
      'X-Signature': '0275747cde8b018bb3bc4afaa39d2dc0da95ff84aa61fd9d18f30f17185107a5',
      'X-Timestamp': '1760000000',
    });
  });

  it('uses a different nonce for every request, and the current time', () => {
    const signed = Array.from({ length: 100 }, () => signRequest(options));
    expect(new Set(signed.map((headers) => headers['X-Nonce'])).size).toBe(100);
    expect(new Set(signed.map((headers) => headers['X-Signature'])).size).toBe(100);
    for (const headers of signed) {
      expect(headers['X-Nonce']).toMatch(/^[A-Za-z0-9_-]{22}$/);
      expect(Math.abs(Number(headers['X-Timestamp']) - Date.now() / 1000)).toBeLessThan(5);
    }
  });

  const bytes = new TextEncoder().encode('bytes: é');
  type Sent = string | Uint8Array<ArrayBuffer> | ArrayBuffer;
  const requests: readonly (readonly [what: string, method: string, path: string, body: Sent | undefined])[] = [
    ['a GET', 'GET', '/', undefined],
    ['a GET with a query', 'GET', '/a/b?x=1&y=%20z&x=2', undefined],
    ['a query that needs encoding', 'GET', '/é?q=a b"<>é|', undefined],
    ['dots in the path', 'GET', '/a/../b/./c?d=../e', undefined],
    ['a bare question mark', 'GET', '/a?', undefined],
    ['a fragment', 'GET', '/a?b=c#d', undefined],
    ['a DELETE', 'DELETE', '/job/1', undefined],
    ['a POST without a body', 'POST', '/', undefined],
    ['text', 'POST', '/', '{"prompt":"ein roter Sessel, schön"}'],
    ['text with half a surrogate pair', 'POST', '/', 'a\ud800b'],
    ['bytes', 'PUT', '/', bytes],
    ['a part of a buffer', 'PUT', '/', bytes.subarray(3, 6)],
    ['an ArrayBuffer', 'PATCH', '/', bytes.slice().buffer],
  ];

  it.each(requests)('signs what fetch sends: %s', async (_what, method, path, body) => {
    const url = `${await serve()}${path}`;
    const headers = signRequest({ ...options, method, url, ...(body === undefined ? {} : { body }) });
    const send = () => fetch(url, { method, headers, body: body ?? null });
    const response = await send();
    expect([response.status, await response.json()]).toEqual([
      200,
      expect.objectContaining({
        method,
        body:
          body === undefined
            ? expect.stringMatching(/^$|^\[object Object\]$/)
            : typeof body === 'string'
              ? body.toWellFormed()
              : Buffer.from(body as Uint8Array).toString(),
      }),
    ]);
    expect((await send()).status).toBe(401);
  });

  const bad: readonly (readonly [what: string, options: object, named: string])[] = [
    ['a secret of 31 characters', { secret: SECRET.slice(0, 31) }, '"secret"'],
    ['an unset secret', { secret: undefined }, '"secret" is not set'],
    ['an empty secret', { secret: '' }, 'openssl rand -hex 32'],
    ['an empty key id', { keyId: '' }, '"keyId"'],
    ['the secret as key id', { keyId: SECRET }, '"keyId"'],
    ['a method with a space', { method: 'GET /' }, '"method"'],
    ['a path', { url: '/generate' }, '"url"'],
    ['a URL without a host', { url: `data:${SECRET}` }, '"url"'],
    ['a timestamp in milliseconds', { timestamp: Date.now() }, '"timestamp"'],
    ['half a second', { timestamp: SECOND + 0.5 }, '"timestamp"'],
    ['a timestamp of NaN', { timestamp: Number.NaN }, '"timestamp"'],
    ['a short nonce', { nonce: 'n' }, '"nonce"'],
    ['a form', { body: new FormData() }, '"body"'],
    ['an object', { body: { prompt: SECRET } }, '"body"'],
    ['a misspelt option', { data: 'x' }, '"data"'],
  ];

  it.each(bad)('refuses %s', (_what, wrong, named) => {
    const make = () => signRequest({ ...options, ...wrong } as SignRequestOptions);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(named);
    try {
      make();
    } catch (error) {
      expect(inspect(error)).not.toContain(SECRET.slice(0, 8));
    }
  });
});

const python = spawnSync('python3', ['--version']).status === 0;

describe.runIf(python)('the Python client of the documentation', () => {
  const CALL = `
import json, sys, urllib.request
from sign import sign
secret, url, method, body = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4].encode()
request = urllib.request.Request(url, data=body or None, method=method, headers=sign("current", secret, method, url, body))
with urllib.request.urlopen(request) as response:
    print(response.status, json.load(response)["url"])
`;

  it.each([
    ['GET', '/', ''],
    ['GET', '/a/b?x=1&y=%20z', ''],
    ['POST', '/generate?seed=1', '{"prompt":"ein roter Sessel, schön"}'],
  ])('signs a %s of %s that the service accepts', async (method, path, body) => {
    const url = await serve();
    const run = promisify(execFile);
    const cwd = fileURLToPath(new URL('.', import.meta.url));
    const { stdout } = await run('python3', ['-B', '-c', CALL, SECRET, url + path, method, body], { cwd });
    expect(stdout.trim()).toBe(`200 ${path}`);
  });
});

describe.skipIf(python)('the Python client of the documentation, without Python', () => {
  beforeAll(() => {
    if (/^(1|true)$/i.test(process.env.CI ?? '')) throw new Error('The Python client cannot be tested: no python3');
    console.warn('\n*** PYTHON CLIENT NOT TESTED: there is no python3 on the PATH ***\n');
  });
  it('says so', () => undefined);
});
