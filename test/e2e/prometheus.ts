import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { check, needs, npmRun, type Running, run, type Step } from './harness.js';

const ALERTS = fileURLToPath(new URL('../../docs/metrics/alerts.yml', import.meta.url));
const ADMIN_KEY = 'prometheus-e2e-admin-key-0123456789abcdef';
const EVE = 'prometheus-e2e-key-of-eve-0123456789abcdef';
const WAIT_MS = 30_000;

/** What Prometheus says about an alert. */
interface Alert {
  readonly labels: { readonly alertname: string };
  readonly annotations: { readonly description: string };
  readonly state: string;
}

/**
 * Runs `npm run example:sam-service` and a real Prometheus that scrapes it, with the alert rules of the documentation. Then
 * a client attacks the service. In this copy of the rules, an alert fires at once, and not after minutes.
 */
export async function prometheus(steps: (list: readonly Step[]) => Promise<void>): Promise<void> {
  needs('Prometheus', ['prometheus'], 'prometheus');
  needs('promtool', ['promtool'], 'prometheus');
  const directory = mkdtempSync(join(tmpdir(), 'prometheus-e2e-'));
  const service = await npmRun(
    ['run', 'example:sam-service'],
    { API_KEYS: `${EVE}:mallory:3`, JWT_SECRET: 'prometheus-e2e-secret-0123456789abcdef', ADMIN_API_KEY: ADMIN_KEY },
    /^SAM service listening on (\S+)$/,
  );
  const server = await startPrometheus(directory, service);
  const ask = async <T>(path: string): Promise<T> => {
    const { data } = (await (await fetch(server.origin + path)).json()) as { readonly data: T };
    return data;
  };
  const value = async (query: string) => {
    type Result = { readonly result: readonly { readonly value: readonly [number, string] }[] };
    const { result } = await ask<Result>(`/api/v1/query?query=${encodeURIComponent(query)}`);
    return result[0]?.value[1];
  };
  const firing = async () => {
    const { alerts } = await ask<{ readonly alerts: readonly Alert[] }>('/api/v1/alerts');
    return alerts.filter(({ state }) => state === 'firing');
  };
  const attack = async (times: number) => {
    const [forbidden, limited, guessed] = [
      await statuses(times, () => fetch(`${service.origin}/admin/usage`, { headers: { 'X-API-Key': EVE } })),
      await statuses(times, () => {
        return fetch(`${service.origin}/segment`, { method: 'POST', headers: { 'X-API-Key': EVE }, body: '{}' });
      }),
      await statuses(times, (i) => fetch(`${service.origin}/admin/usage`, { headers: { 'X-API-Key': `guess-${i}` } })),
    ];
    return { forbidden, limited, guessed };
  };
  try {
    await steps([
      [
        'Prometheus: it scrapes the example, and promtool accepts what it gets',
        async () => {
          const answer = await fetch(`${service.origin}/metrics`, { headers: { 'X-API-Key': ADMIN_KEY } });
          const text = await answer.text();
          check(answer.status === 200, `/metrics answered ${answer.status}`);
          writeFileSync(join(directory, 'metrics'), text);
          run('bash', ['-c', `promtool check metrics < ${join(directory, 'metrics')}`], {});
          await until('up == 1', async () => (await value('up')) === '1');
        },
      ],
      [
        'Prometheus: /metrics is closed without the key',
        async () => {
          const answer = await fetch(`${service.origin}/metrics`);
          check(answer.status === 401, `/metrics answered ${answer.status} without a key`);
        },
      ],
      [
        'Prometheus: no alert fires before the attack, and three fire on it',
        async () => {
          // A rate needs a first sample of each series.
          await attack(4);
          await until(
            'the first samples',
            async () => (await value('sum(gatewarden_requests_total{status="403"})')) === '4',
          );
          await sleep(2000);
          const before = (await firing()).map(({ labels }) => labels.alertname);
          check(before.length === 0, `alerts before the attack: ${before}`);
          const { forbidden, limited, guessed } = await attack(80);
          check(forbidden.get(403) === 80, `of 80 attempts were forbidden: ${forbidden.get(403)}`);
          check(limited.get(429) === 80, `of 80 attempts were limited: ${limited.get(429)}`);
          check(guessed.get(401) === 80, `of 80 guesses were refused: ${guessed.get(401)}`);
          const expected = ['GatewardenManyBadCredentials', 'GatewardenManyForbidden', 'GatewardenManyLimited'];
          await until(`the alerts ${expected}`, async () => {
            const names = (await firing()).map(({ labels }) => labels.alertname);
            return expected.every((name) => names.includes(name));
          });
          for (const { labels, annotations } of await firing()) {
            console.log(`    ${labels.alertname}: ${annotations.description}`);
          }
        },
      ],
      [
        'Prometheus: clients and keys are in no label',
        async () => {
          const text = await (await fetch(`${service.origin}/metrics`, { headers: { 'X-API-Key': ADMIN_KEY } })).text();
          for (const secret of ['mallory', 'guess-', '127.0.0.1', EVE]) {
            check(!text.includes(secret), `the metrics contain ${secret}`);
          }
        },
      ],
    ]);
  } finally {
    await server.stop();
    await service.stop();
    rmSync(directory, { recursive: true });
  }
}

/** Starts Prometheus on a free port, with its data in `directory`. */
async function startPrometheus(directory: string, service: Running) {
  // Only the times change, so that the test need not wait for minutes.
  const rules = readFileSync(ALERTS, 'utf8').replaceAll(/\bfor: \d+m\b/g, 'for: 0s');
  writeFileSync(join(directory, 'alerts.yml'), rules);
  const config = {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: [join(directory, 'alerts.yml')],
    scrape_configs: [
      {
        job_name: 'sam-service',
        authorization: { type: 'Bearer', credentials: ADMIN_KEY },
        static_configs: [{ targets: [new URL(service.origin).host] }],
      },
    ],
  };
  // JSON is YAML.
  writeFileSync(join(directory, 'prometheus.yml'), JSON.stringify(config));
  const port = await freePort();
  const child = spawn(
    'prometheus',
    [
      `--config.file=${join(directory, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(directory, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--log.level=warn',
    ],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
  const closed = once(child, 'close');
  const origin = `http://127.0.0.1:${port}`;
  const stop = async () => {
    child.kill('SIGTERM');
    await closed;
  };
  try {
    await until('Prometheus', async () => (await fetch(`${origin}/-/ready`).catch(() => undefined))?.ok === true);
  } catch (error) {
    await stop();
    throw error;
  }
  return { origin, stop };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (typeof address !== 'object' || address === null) throw new Error('there is no free port');
  return address.port;
}

/** Sends requests one after the other, and counts the answers by status. */
async function statuses(times: number, send: (i: number) => Promise<Response>): Promise<Map<number, number>> {
  const counts = new Map<number, number>();
  for (let i = 0; i < times; i++) {
    const answer = await send(i);
    await answer.arrayBuffer();
    counts.set(answer.status, (counts.get(answer.status) ?? 0) + 1);
  }
  return counts;
}

async function until(what: string, isTrue: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + WAIT_MS;
  while (!(await isTrue())) {
    check(Date.now() < end, `waited ${WAIT_MS / 1000} s for ${what}`);
    await sleep(200);
  }
}
