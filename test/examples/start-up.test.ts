import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { isLoopback, isProduction } from '../../examples/exposure.js';
import { listenFailure, originOf, printSettings, warnOfHosts } from '../../examples/start-up.js';
import { proxyOptions } from '../../examples/trusted-proxies.js';
import { rawRequest } from './raw-host.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);

interface Example {
  readonly name: string;
  readonly secrets: Readonly<Record<string, string>>;
  readonly portVariable: string;
  /** Settings as an operator writes them, and what the table shows for them. */
  readonly shown: Readonly<Record<string, string>>;
}

const EXAMPLES: readonly Example[] = [
  {
    name: 'point-e',
    secrets: { POINT_E_SECRET_KEY: 'c4n4ry-of-the-main-server-0123456789' },
    portVariable: 'PORT',
    shown: { RATE_LIMIT_WINDOW: '3600', RATE_LIMIT_PER_IP: '7', TRUSTED_PROXIES: 'cloudflared' },
  },
  {
    name: 'ai-factory',
    secrets: { API_KEY: 'c4n4ry-of-a-client-0123456789,c4n4ry-of-another-0123456789' },
    portVariable: 'PORT',
    shown: { RATE_LIMIT_PERIOD_SECONDS: '60', RATE_LIMIT_ENABLED: 'yes', TRUSTED_HOSTS: 'localhost,127.0.0.1' },
  },
  {
    name: 'live-ingest',
    secrets: { INGEST_TOKEN: 'c4n4ry-of-a-sender-0123456789' },
    portVariable: 'API_PORT',
    shown: { INGEST_RATE_LIMIT: '30', API_CORS_ORIGINS: 'http://localhost:5173, http://localhost:3000' },
  },
  {
    name: 'sam-service',
    secrets: {
      API_KEYS: 'c4n4ry-of-a-client-0123456789:one:100',
      JWT_SECRET: 'c4n4ry-0123456789-0123456789-0123456789',
    },
    portVariable: 'PORT',
    shown: { MAX_FILE_SIZE_MB: '20', LOG_LEVEL: 'warning', MAX_GPU_TIME_SECONDS: '60' },
  },
  {
    name: 'image2model',
    secrets: {
      API_KEY: 'alice:c4n4ry-of-a-client-0123456789',
      ADMIN_API_KEY: 'c4n4ry-of-the-admin-0123456789',
    },
    portVariable: 'PORT',
    shown: { ENVIRONMENT: 'production', RATE_LIMIT_PER_MINUTE: '30', JOB_LIFETIME: '12h', TRUSTED_PROXIES: 'loopback' },
  },
];

let directory: string;
const children: ChildProcess[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'gatewarden-start-'));
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null) continue;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
  await rm(directory, { recursive: true });
  vi.restoreAllMocks();
});

/** Starts an example as its npm script does, but from source. Resolves when it listens or has ended. */
async function startExample(name: string, env: Readonly<Record<string, string>>) {
  const { PATH = '', HOME = '' } = process.env;
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', '--import', './test/examples/lua-as-text.mjs', `examples/${name}/main.ts`],
    {
      cwd: ROOT,
      env: {
        PATH,
        HOME,
        TMPDIR: directory,
        DATA_FILE: join(directory, 'bets.jsonl'),
        DATA_DIRECTORY: join(directory, `counts-${children.length}`),
        PORT: '0',
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  children.push(child);
  let [stdout, stderr] = ['', ''];
  const ended = once(child, 'close') as Promise<[number | null]>;
  const origin = await new Promise<string | undefined>((resolve) => {
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk;
      const found = /listening on (http:\S+?),?(?:\s|$)/.exec(stdout.split('Try it')[1] ?? '')?.[1];
      if (found !== undefined) resolve(found);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk;
    });
    void ended.then(() => resolve(undefined));
  });
  return { child, origin, ended, stdout: () => stdout, stderr: () => stderr };
}

describe.each(EXAMPLES)('the example $name', ({ name, secrets, portVariable, shown }) => {
  it('shows its settings as they are set, serves only its own hosts, says what it is on /, and stops', async () => {
    const { origin, stdout, stderr, child, ended } = await startExample(name, { ...secrets, ...shown });
    if (origin === undefined) throw new Error(`did not start: ${stdout()}${stderr()}`);
    for (const [variable, value] of Object.entries(shown)) {
      expect(stdout()).toMatch(new RegExp(`^  ${variable} +${value.replaceAll('.', '\\.')}$`, 'm'));
    }
    for (const variable of Object.keys(secrets)) expect(stdout()).toMatch(new RegExp(`^  ${variable} +set$`, 'm'));
    expect(stdout()).toMatch(/^ {2}HOST +127\.0\.0\.1 \(default\)$/m);

    const response = await fetch(origin);
    expect([response.status, response.headers.get('content-type')]).toEqual([
      200,
      expect.stringMatching(/^application\/json/),
    ]);
    expect(await response.json()).toMatchObject({ service: expect.any(String), description: expect.any(String) });
    expect((await rawRequest(origin, '/', 'evil.example')).status).toBe(400);
    expect((await rawRequest(origin, '/', `localhost:${new URL(origin).port}`)).status).toBe(200);

    child.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
    expect(stdout() + stderr()).not.toContain('c4n4ry');
  }, 60_000);

  it('says in one sentence that its port is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const { origin, stdout, stderr, ended } = await startExample(name, { ...secrets, [portVariable]: String(port) });
    other.close();
    expect([origin, await ended]).toEqual([undefined, [1, null]]);
    expect(stderr()).toBe(
      `Cannot listen on 127.0.0.1:${port}, which another program uses: stop it, or set ${portVariable} to another value.\n`,
    );
    expect(stdout()).not.toContain('Try it');
    // The bets of live ingest and the counts aside, nothing is left.
    expect((await readdir(directory)).filter((file) => !/^(bets\.jsonl|counts-\d+|tsx-.*)$/.test(file))).toEqual([]);
  }, 60_000);
});

it('the SAM service prints a curl line whose file is there', async () => {
  const { origin, stdout } = await startExample('sam-service', {});
  const [, file = ''] = /-F "file=@(.+)"$/m.exec(stdout()) ?? [];
  const [, key = ''] = /export SAM_KEY=(\S+)/.exec(stdout()) ?? [];
  expect(existsSync(file)).toBe(true);
  const { stdout: answer } = await run('curl', [
    '-s',
    `${origin}/segment_file`,
    '-H',
    `X-API-Key: ${key}`,
    '-F',
    `file=@${file}`,
  ]);
  expect(JSON.parse(answer)).toMatchObject({ success: true, num_masks: 6 });
}, 60_000);

it('live ingest says in one sentence that its data file cannot be opened', async () => {
  const { stderr, ended } = await startExample('live-ingest', {
    INGEST_TOKEN: 'c4n4ry-0123456789',
    DATA_FILE: directory,
  });
  expect(await ended).toEqual([1, null]);
  expect(stderr()).toMatch(/^gatewarden: bad settings: "DATA_FILE" cannot be opened \(EISDIR: .*\)\n$/);
}, 60_000);

it('the build of `npm start` makes no types, and leaves those of the last build', async () => {
  for (const file of ['index.d.ts', 'index.d.cts', 'chunk-of-an-earlier-build.js']) {
    await writeFile(join(directory, file), '');
  }
  await run(process.execPath, ['node_modules/tsup/dist/cli-default.js', '--no-dts', '-d', directory], { cwd: ROOT });
  const files = await readdir(directory);
  expect(files.filter((file) => /\.d\.c?ts$/.test(file))).toEqual(['index.d.cts', 'index.d.ts']);
  expect(files).toEqual(expect.arrayContaining(['index.js', 'index.cjs', 'env.js', 'redis.js']));
  expect(files).not.toContain('chunk-of-an-earlier-build.js');
}, 60_000);

describe('a server that cannot listen', () => {
  const variables = { host: 'HOST', port: 'PORT' };
  async function failureOf(host: string, port: number): Promise<unknown> {
    const server = createServer();
    const [error] = (await Promise.race([
      once(server.listen(port, host), 'error'),
      once(server, 'listening').then(() => [undefined]),
    ]).catch((thrown: unknown) => [thrown])) as [unknown];
    server.close();
    return error;
  }

  it.each([
    [
      'an address of another machine',
      '192.0.2.1',
      /^Cannot listen on 192\.0\.2\.1:0, which is no address of this machine/,
    ],
    ['an IPv6 address of another machine', '2001:db8::1', /^Cannot listen on \[2001:db8::1\]:0/],
    ['a name that is unknown', 'no-such-host.invalid', /^Cannot listen on no-such-host\.invalid, which is no address/],
  ])('says so for %s', async (_what, host, expected) => {
    expect(listenFailure(await failureOf(host, 0), variables)).toMatch(expected);
  });

  it.each([
    ['EACCES', 'which this user may not: set PORT to 1024 or above.'],
    ['EINVAL', '(EINVAL): set HOST or PORT to another value.'],
  ])('says so for %s', (code, expected) => {
    const error = Object.assign(new Error('listen'), { code, syscall: 'listen', address: '127.0.0.1', port: 80 });
    expect(listenFailure(error, variables)).toContain(`Cannot listen on 127.0.0.1:80`);
    expect(listenFailure(error, variables)).toContain(expected);
  });

  it.each([[new Error('a fault')], [Object.assign(new Error('open'), { code: 'EACCES', syscall: 'open' })], ['text']])(
    'does not explain other errors: %s',
    (error) => {
      expect(listenFailure(error, variables)).toBeUndefined();
    },
  );
});

describe('what the examples share', () => {
  it.each<[Record<string, string>, boolean]>([
    [{}, false],
    [{ NODE_ENV: '', ENVIRONMENT: ' ' }, false],
    [{ NODE_ENV: 'development', ENVIRONMENT: 'staging' }, false],
    [{ NODE_ENV: 'production' }, true],
    [{ ENVIRONMENT: 'production' }, true],
    [{ NODE_ENV: 'development', ENVIRONMENT: ' Production ' }, true],
    [{ NODE_ENV: 'prod', ENVIRONMENT: 'development' }, true],
  ])('%j means production: %s', (environment, expected) => {
    expect(isProduction(environment)).toBe(expected);
  });

  it.each([
    ['127.0.0.1', true],
    ['LOCALHOST', true],
    ['::1', true],
    ['0.0.0.0', false],
    ['::', false],
    ['192.0.2.1', false],
    ['localhost.example', false],
  ])('%s is loopback: %s', (host, expected) => {
    expect(isLoopback(host)).toBe(expected);
  });

  it.each<[readonly string[], object]>([
    [[], { trust: [] }],
    [['loopback', '10.0.0.0/8'], { trust: ['loopback', '10.0.0.0/8'] }],
    [['cloudflare'], { preset: 'cloudflare' }],
    [['Cloudflared'], { preset: 'cloudflared' }],
    [['cloudflared', 'cloudflared'], { preset: 'cloudflared' }],
    // A proxy behind Cloudflare passes on `CF-Connecting-IP` from anyone, so only X-Forwarded-For tells the client.
    [['cloudflare', 'loopback'], { trust: ['cloudflare', 'loopback'] }],
  ])('TRUSTED_PROXIES %j configures clientIp as %j', (proxies, expected) => {
    expect(proxyOptions(proxies)).toEqual(expected);
  });

  it('TRUSTED_PROXIES refuses cloudflared next to other proxies', () => {
    expect(() => proxyOptions(['cloudflared', '10.0.0.0/8'])).toThrow('cloudflared must be the only proxy');
  });

  it('the URL of a server names an address that this machine can call', () => {
    const address = { address: '', family: '', port: 80 };
    expect(['127.0.0.1', 'localhost', '::1', '0.0.0.0', '::'].map((host) => originOf(host, address))).toEqual([
      'http://127.0.0.1:80',
      'http://localhost:80',
      'http://[::1]:80',
      'http://127.0.0.1:80',
      'http://127.0.0.1:80',
    ]);
  });

  it('the table shows what a variable that is not set means', () => {
    const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    printSettings(
      [
        { name: 'KEY', value: 'not set', source: 'default' },
        { name: 'PERIOD_SECONDS', value: '60', source: 'environment' },
      ],
      { KEY: 'generated for this run', PERIOD_SECONDS: 'never shown' },
    );
    expect(log.mock.calls.map(([line]) => line)).toEqual([
      'Security settings:',
      '  KEY             generated for this run (default)',
      '  PERIOD_SECONDS  60',
    ]);
  });

  it('behind a proxy, the operator is told to set TRUSTED_HOSTS', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    const hosts = (source: 'environment' | 'default') => [{ name: 'TRUSTED_HOSTS', value: '', source }];
    warnOfHosts({ trustedProxies: [], trustedHosts: ['localhost'], described: hosts('default') });
    warnOfHosts({ trustedProxies: ['loopback'], trustedHosts: [], described: hosts('default') });
    warnOfHosts({ trustedProxies: ['loopback'], trustedHosts: ['a.example'], described: hosts('environment') });
    expect(warn).not.toHaveBeenCalled();
    warnOfHosts({ trustedProxies: ['cloudflared'], trustedHosts: ['localhost'], described: hosts('default') });
    expect(warn.mock.calls).toEqual([[expect.stringMatching(/other hosts than localhost are refused.*TRUSTED_HOSTS/)]]);
  });
});
