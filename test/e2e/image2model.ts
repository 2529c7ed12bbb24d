import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import { launchChromium, pageOf } from './browser.js';
import { check, npmRun, pythonWithRequests, type Running, run, type Step, same } from './harness.js';
import { startNginx } from './nginx.js';

const KEY = 'your-api-key-of-the-guide-0123456789';
const ADMIN_KEY = 'your-admin-key-of-the-guide-0123456789';
const NAME = 'api.image2model.com';
const READY = /^Image2Model API listening on (\S+)$/;
const IMAGE = fileURLToPath(new URL('../../examples/sam-service/image.jpg', import.meta.url));
const STAND_IN = fileURLToPath(new URL('../../examples/workers/image2model-stand-in.ts', import.meta.url));

/** How long the job behind nginx takes. A real one of two minutes: `JOB_SECONDS=120 npm run test:e2e`. */
const JOB_SECONDS = Number(process.env.JOB_SECONDS ?? 5);
/** How long nginx waits for a response. */
const PROXY_SECONDS = JOB_SECONDS >= 120 ? 60 : 2;

type Steps = (list: readonly Step[]) => Promise<void>;

/** Runs `npm run example:image2model`, and calls it with the guide's lines, through nginx, and from a page in Chromium. */
export async function image2model(steps: Steps): Promise<void> {
  await inDevelopment(steps);
  await behindNginx(steps);
}

async function inDevelopment(steps: Steps): Promise<void> {
  const worker = await slowWorker(3);
  const env = { ADMIN_API_KEY: ADMIN_KEY, ENVIRONMENT: 'development', API_KEY: '', WORKER_URL: worker.url };
  const service = await npmRun(['run', 'example:image2model'], env, READY);
  const browser = await launchChromium();
  const proxy = await breakableProxy(Number(new URL(service.origin).port));
  try {
    await steps([
      ['Image2Model: the printed curl commands work when pasted', () => pasteCurlLines(service)],
      ["Image2Model: the guide's curl lines, in development", () => guideCurlLines(service.origin, 'test_api_key')],
      [
        'Image2Model: a page follows a job by its events, loses its connection, and comes back to the right state',
        () => followJob(browser, proxy),
      ],
      [
        "Image2Model: so does a browser's own EventSource, with the last event that it has seen",
        () => followWithEventSource(browser, service.origin, proxy),
      ],
    ]);
  } finally {
    await proxy.close();
    await browser.close();
    await service.stop();
    await worker.stop();
  }
}

async function behindNginx(steps: Steps): Promise<void> {
  const python = pythonWithRequests();
  const worker = await slowWorker(JOB_SECONDS);
  const env = {
    API_KEY: `client:${KEY}`,
    ADMIN_API_KEY: ADMIN_KEY,
    ENVIRONMENT: 'production',
    TRUSTED_PROXIES: 'loopback',
    TRUSTED_HOSTS: `${NAME},127.0.0.1`,
    WORKER_URL: worker.url,
  };
  const service = await npmRun(['run', 'example:image2model'], env, READY);
  const nginx = await startNginx(service.origin, '127.0.0.1', `proxy_read_timeout ${PROXY_SECONDS}s;`);
  const origin = `http://127.0.0.1:${nginx.port}`;
  try {
    await steps([
      ["Image2Model: the guide's curl lines, in production", () => guideCurlLines(service.origin, KEY)],
      [
        `Image2Model behind nginx, which waits ${PROXY_SECONDS} s: a job of ${JOB_SECONDS} s is made and fetched once`,
        () => {
          const client = new URL('image2model_client.py', import.meta.url).pathname;
          const variables = {
            IMAGE2MODEL_URL: origin,
            IMAGE2MODEL_KEY: KEY,
            POLL_SECONDS: JOB_SECONDS >= 60 ? '5' : '1',
          };
          process.stdout.write(run(python, [client, IMAGE], variables, undefined, (JOB_SECONDS + 60) * 1000));
          const { jobs } = JSON.parse(
            run('curl', ['-sf', `${origin}/api/v1/admin/system-info`, '-H', `Authorization: Bearer ${ADMIN_KEY}`], {}),
          );
          same(jobs, { submitted: 1, succeeded: 1, failed: 0, cancelled: 0 }, 'jobs');
        },
      ],
      [
        'Image2Model: no key is printed or logged',
        () => check(!/your-(api|admin)-key/.test(service.printed()), `a key in:\n${service.printed()}`),
      ],
    ]);
  } finally {
    await nginx.stop();
    await service.stop();
    await worker.stop();
  }
}

/** The lines of "Using cURL", with other keys and another port. */
function guideCurlLines(origin: string, key: string): void {
  const status = (line: string) =>
    run('bash', ['-euo', 'pipefail', '-c', `curl -s -w ' %{http_code}' ${line}`], {}).replaceAll('\n', ' ');
  const ready = status(`-X GET ${origin}/api/v1/health/ready \\\n  -H "Authorization: Bearer ${key}"`);
  same(ready, '{"status":"ready","checks":{"worker":"ready"}} 200', 'readiness');
  const info = status(`-X GET ${origin}/api/v1/admin/system-info \\\n  -H "Authorization: Bearer ${ADMIN_KEY}"`);
  check(info.endsWith(' 200') && info.includes('"cpu_count"'), `no system information: ${info}`);
  const job = status(`-X GET \\\n  ${origin}/api/v1/status/job_123 \\\n  -H "Authorization: Bearer ${key}"`);
  check(job.endsWith(' 404') && job.includes('"error_code":"JOB_NOT_FOUND"'), `no 404: ${job}`);
  const wrong = status(`-X GET ${origin}/api/v1/admin/system-info \\\n  -H "Authorization: Bearer ${key}"`);
  same(
    wrong,
    '{"error":true,"error_code":"INSUFFICIENT_PERMISSIONS","message":"Invalid admin API key"} 403',
    'no admin',
  );
}

/** Runs the commands of the start-up message without any change. */
function pasteCurlLines(service: Running): void {
  const lines = service
    .printed()
    .split('\n')
    .filter((line) => /^ {2}(JOB=|curl )/.test(line));
  check(lines.length === 4, `expected four commands to paste:\n${service.printed()}`);
  const directory = mkdtempSync(join(tmpdir(), 'image2model-e2e-'));
  try {
    const answers = run('bash', ['-euo', 'pipefail', '-c', lines.join('\necho\n')], {}, directory);
    check(answers.includes('event: status') && answers.includes('"status":"succeeded"'), `no events:\n${answers}`);
    const glb = readFileSync(join(directory, 'image.glb'));
    same([glb.toString('latin1', 0, 4), glb.readUInt32LE(8)], ['glTF', glb.length], 'image.glb');
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function followJob(browser: Browser, proxy: BreakableProxy): Promise<void> {
  await pageOf(browser, `${proxy.origin}/page`, async (page) => {
    await page.setInputFiles('#files', IMAGE);
    await page.click('text=Make models');
    const state = page.locator('#state');
    await state.filter({ hasText: 'running: model 1 of 1' }).waitFor();
    proxy.cut();
    await state.filter({ hasText: 'connecting again' }).waitFor();
    proxy.mend();
    await state.filter({ hasText: 'succeeded' }).waitFor();
    const download = page.waitForEvent('download');
    await page.click('#models a');
    const path = await (await download).path();
    same(readFileSync(path).toString('latin1', 0, 4), 'glTF', 'the file that the page downloads');
  });
}

/** Collects the events of a job in the page, as `[id, status]`, until it has succeeded. */
const COLLECT_EVENTS = `(url) => new Promise((resolve) => {
  const events = [];
  const source = new EventSource(url);
  const add = ({ lastEventId, data }) => {
    events.push([Number(lastEventId), JSON.parse(data).status]);
    document.title = events.length + ' events';
    if (events.at(-1)[1] !== 'succeeded') return;
    source.close();
    resolve(events);
  };
  source.addEventListener('status', add);
  source.addEventListener('progress', add);
})`;

async function followWithEventSource(browser: Browser, origin: string, proxy: BreakableProxy): Promise<void> {
  const { job_id } = JSON.parse(run('curl', ['-sf', '-F', `files=@${IMAGE}`, `${origin}/api/v1/upload`], {}));
  await pageOf(browser, `${proxy.origin}/page`, async (page) => {
    const seen = page.evaluate(`(${COLLECT_EVENTS})('/api/v1/status/${job_id}/events')`);
    // Its policy does not let the page evaluate a text, so the page is not asked by a function.
    for (let i = 0; i < 200 && !(await page.title()).endsWith('events'); i++) {
      await new Promise((later) => setTimeout(later, 50));
    }
    proxy.cut();
    await new Promise((later) => setTimeout(later, 500));
    proxy.mend();
    const events = (await seen) as readonly (readonly [id: number, status: string])[];
    const ids = events.map(([id]) => id);
    same(
      ids,
      [...new Set(ids)].sort((a, b) => a - b),
      'every event once, in order',
    );
    same(events.at(-1)?.[1], 'succeeded', 'the last state');
  });
}

interface BreakableProxy {
  readonly origin: string;
  /** Closes all connections, and refuses new ones. */
  cut(): void;
  mend(): void;
  close(): Promise<void>;
}

/** Passes bytes on to a port of this machine, as a network that can fail. */
async function breakableProxy(port: number): Promise<BreakableProxy> {
  const sockets = new Set<Socket>();
  let isCut = false;
  const server = createServer((socket) => {
    if (isCut) {
      socket.destroy();
      return;
    }
    const upstream = connect(port, '127.0.0.1');
    for (const [one, other] of [
      [socket, upstream],
      [upstream, socket],
    ] as const) {
      sockets.add(one);
      one
        .on('error', () => other.destroy())
        .once('close', () => {
          sockets.delete(one);
          other.destroy();
        });
      one.pipe(other);
    }
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut() {
      isCut = true;
      for (const socket of sockets) socket.destroy();
    },
    mend() {
      isCut = false;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A stand-in whose jobs take this long. */
async function slowWorker(seconds: number): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const child: ChildProcess = spawn(process.execPath, ['--import', 'tsx', STAND_IN, '--seconds', String(seconds)], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, PORT: '0' },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const closed = once(child, 'close');
  const url = await new Promise<string>((resolve, reject) => {
    if (child.stdout === null) throw new Error('the stand-in has no output');
    createInterface({ input: child.stdout }).on('line', (line) => {
      const found = /listening on (\S+)$/.exec(line)?.[1];
      if (found !== undefined) resolve(found);
    });
    void closed.then(() => reject(new Error('the stand-in has ended')));
  });
  return {
    url,
    async stop() {
      child.kill();
      await closed;
    },
  };
}
