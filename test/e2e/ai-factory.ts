import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { launchChromium, pageOf } from './browser.js';
import { check, npmRun, type Step, same } from './harness.js';
import { answerOf, startNginx } from './nginx.js';

const KEY = 'sk-test-key-ai-factory-2025';
const NAME = 'api.yourdomain.com';
const READY = /^AI Factory server listening on ([^\s,]+)/;

type Steps = (list: readonly Step[]) => Promise<void>;

/** Runs `npm run example:ai-factory`, and calls it from pages in Chromium and through nginx. */
export async function aiFactory(steps: Steps): Promise<void> {
  await fromPages(steps);
  await throughNginx(steps);
}

async function fromPages(steps: Steps): Promise<void> {
  const [allowed, foreign] = [await blankPages(), await blankPages()];
  const env = { API_KEY: KEY, CORS_ORIGINS: allowed.origin, RATE_LIMIT_REQUESTS: '20' };
  const server = await npmRun(['run', 'example:ai-factory'], env, READY);
  const browser = await launchChromium();
  try {
    await steps([
      [
        "AI Factory: the guide's fetch example, from a page of an allowed origin",
        async () => {
          const { protectedRoute, test } = await pageOf(browser, allowed.origin, (page) =>
            page.evaluate(guideExample, { base: server.origin, key: KEY }),
          );
          same(protectedRoute.message, 'Access granted to protected resource', '/protected');
          same(
            [test.success, test.received_data],
            [true, { test_name: 'my_test', iterations: 5, timeout: 30 }],
            '/api/test',
          );
        },
      ],
      [
        'AI Factory: the browser blocks the same calls from a page of another origin',
        async () => {
          const outcome = await pageOf(browser, foreign.origin, (page) =>
            page.evaluate(
              async (url) =>
                fetch(url, { headers: { 'X-API-Key': 'x' } }).then(
                  () => 'read',
                  (error: Error) => error.name,
                ),
              `${server.origin}/protected`,
            ),
          );
          same(outcome, 'TypeError', 'outcome');
        },
      ],
      [
        'AI Factory: the lock of /docs accepts the key, and /redoc is shown, without requests to other hosts',
        async () => {
          const respondingOrigins = new Set<string>();
          await pageOf(browser, `${server.origin}/docs`, async (page) => {
            // ReDoc's logo is on another host. The page's policy stops the browser from requesting it.
            page.on('response', (response) => respondingOrigins.add(new URL(response.url()).origin));
            await page.reload();
            await page.click('button.authorize');
            await page.fill('.auth-container input[type=text]', KEY);
            await page.click('.auth-btn-wrapper button[type=submit]');
            await page.click('.auth-btn-wrapper button.btn-done');
            await page.click('#operations-default-get_protected button');
            await page.click('#operations-default-get_protected .try-out__btn');
            await page.click('#operations-default-get_protected button.execute');
            const answer = await page
              .locator('#operations-default-get_protected .live-responses-table .microlight')
              .first()
              .textContent();
            check(answer?.includes('Access granted') === true, `after authorizing, /protected returned ${answer}`);
            await page.goto(`${server.origin}/redoc`);
            await page.waitForSelector('text=AI Factory Testing Server');
          });
          same(
            [...respondingOrigins].filter((origin) => origin.startsWith('http')),
            [server.origin],
            'hosts',
          );
        },
      ],
      [
        'AI Factory: a page can read the body of a 429',
        async () => {
          const answer = await pageOf(browser, allowed.origin, (page) =>
            page.evaluate(
              async ({ url, key }) => {
                for (let i = 0; i < 40; i++) {
                  const response = await fetch(url, { headers: { 'X-API-Key': key } });
                  if (response.status === 429) {
                    const body = (await response.json()) as { detail: string };
                    return [
                      body.detail,
                      Number(response.headers.get('Retry-After')) > 0,
                      response.headers.get('X-RateLimit-Remaining'),
                    ];
                  }
                }
                return [];
              },
              { url: `${server.origin}/protected`, key: KEY },
            ),
          );
          same(answer, ['Rate limit exceeded. Max 20 requests per 60s', true, '0'], '429');
        },
      ],
    ]);
  } finally {
    await browser.close();
    await server.stop();
    await Promise.all([allowed.close(), foreign.close()]);
  }
}

/** The guide's "JavaScript/Fetch" example, which returns the responses instead of logging them. */
async function guideExample({ base, key }: { base: string; key: string }) {
  const API_KEY = key;
  const BASE_URL = base;
  const headers = { 'X-API-Key': API_KEY, 'Content-Type': 'application/json' };
  const testData = { test_name: 'my_test', iterations: 5 };
  return {
    protectedRoute: (await fetch(`${BASE_URL}/protected`, { headers }).then((res) => res.json())) as {
      message: string;
    },
    test: (await fetch(`${BASE_URL}/api/test`, {
      method: 'POST',
      headers,
      body: JSON.stringify(testData),
    }).then((res) => res.json())) as { success: boolean; received_data: unknown },
  };
}

/** A server with an empty page, for an origin of its own. */
async function blankPages() {
  const server = createServer(
    (_request, response) => void response.setHeader('Content-Type', 'text/html').end('<!doctype html>'),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function throughNginx(steps: Steps): Promise<void> {
  const env = { API_KEY: KEY, TRUSTED_PROXIES: '127.0.0.1', TRUSTED_HOSTS: NAME, RATE_LIMIT_REQUESTS: '3' };
  const server = await npmRun(['run', 'example:ai-factory'], env, READY);
  const nginx = await startNginx(server.origin, NAME);
  const ask = (headers: Record<string, string>, localAddress = '127.0.0.2', path = '/health') =>
    answerOf({ port: nginx.port, path, localAddress, headers: { Host: NAME, ...headers } });
  const lineOf = async (id: string): Promise<string> => {
    for (let i = 0; i < 50; i++) {
      const line = server
        .printed()
        .split('\n')
        .find((text) => text.includes(`[${id}]`) && text.includes(' ip='));
      if (line !== undefined) return line;
      await new Promise((later) => setTimeout(later, 20));
    }
    throw new Error(`nothing was logged of ${id}`);
  };
  try {
    await steps([
      [
        'AI Factory behind nginx: the client address is the one that called nginx, whatever headers it sends',
        async () => {
          same((await ask({ 'X-Request-ID': 'n-1' })).status, 200, 'status');
          check((await lineOf('n-1')).includes('ip="127.0.0.2"'), await lineOf('n-1'));
          const spoofed = { 'X-Request-ID': 'n-2', 'X-Forwarded-For': '192.0.2.66', 'X-Real-IP': '192.0.2.66' };
          await ask(spoofed);
          check((await lineOf('n-2')).includes('ip="127.0.0.2"'), await lineOf('n-2'));
        },
      ],
      [
        'AI Factory behind nginx: each client is limited by its own address',
        async () => {
          const statuses = async (address: string) => {
            const got: (number | undefined)[] = [];
            for (let i = 0; i < 4; i++) {
              const answer = await ask({ 'X-API-Key': KEY, 'X-Forwarded-For': `192.0.2.${i}` }, address, '/protected');
              got.push(answer.status);
            }
            return got;
          };
          same(await statuses('127.0.0.3'), [200, 200, 200, 429], 'the first client');
          same(await statuses('127.0.0.4'), [200, 200, 200, 429], 'the second client');
        },
      ],
      [
        'AI Factory behind nginx: host names are checked, and request ids are kept or generated',
        async () => {
          const answer = await ask({ 'X-Request-ID': 'n-3' });
          same([answer.status, answer.headers['x-request-id']], [200, 'n-3'], 'the served name');
          same((await ask({ Host: 'evil.test' })).status, 400, 'a foreign name');
          const generated = await ask({});
          check(/^[0-9a-f-]{36}$/.test(String(generated.headers['x-request-id'])), 'no request id');
        },
      ],
    ]);
  } finally {
    await nginx.stop();
    await server.stop();
  }
}
