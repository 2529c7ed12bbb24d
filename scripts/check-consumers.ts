/**
 * Checks the package as its users install it. Packs it, installs the tarball into projects outside this repository (ESM,
 * CJS, TypeScript `nodenext` in both formats, TypeScript `bundler`, Fastify, TypeScript without Express' types), type-checks them
 * with `skipLibCheck: false`, starts them, and sends HTTP requests. Nothing is downloaded from a registry.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import lock from '../package-lock.json' with { type: 'json' };

interface Consumer {
  readonly name: string;
  /** The directory below test/consumers. */
  readonly project: string;
  /** The packages that it uses besides the tarball, linked from this repository's node_modules. */
  readonly packages: readonly string[];
  readonly tsconfig?: string;
  /** The server to start. It prints its port. Undefined if only the types are checked. */
  readonly server?: string;
}

const TYPED_EXPRESS = ['express', '@types/express', '@types/node'];

const CONSUMERS: readonly Consumer[] = [
  { name: 'ESM', project: 'esm', packages: ['express'], server: 'server.mjs' },
  { name: 'CJS', project: 'cjs', packages: ['express'], server: 'server.cjs' },
  {
    name: 'TypeScript nodenext, ESM',
    project: 'ts-nodenext',
    packages: TYPED_EXPRESS,
    tsconfig: 'tsconfig.esm.json',
    server: 'out/server.mjs',
  },
  {
    name: 'TypeScript nodenext, CJS',
    project: 'ts-nodenext',
    packages: TYPED_EXPRESS,
    tsconfig: 'tsconfig.cjs.json',
    server: 'out/server.cjs',
  },
  {
    name: 'TypeScript bundler',
    project: 'ts-bundler',
    packages: TYPED_EXPRESS,
    tsconfig: 'tsconfig.json',
    server: 'out/server.js',
  },
  {
    name: 'TypeScript with Fastify, a logger of its own and exact optional properties',
    project: 'ts-fastify',
    packages: ['fastify', 'pino', '@types/node'],
    tsconfig: 'tsconfig.json',
    server: 'out/server.js',
  },
  {
    name: 'TypeScript without the types of Express',
    project: 'ts-no-express-types',
    packages: ['@types/node'],
    tsconfig: 'tsconfig.json',
  },
];

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SECRET = 'consumer-secret-consumer-secret-1234';

async function main(): Promise<void> {
  if (!existsSync(join(ROOT, 'dist/index.js'))) throw new Error('dist does not exist. Run `npm run build` first.');
  const work = mkdtempSync(join(tmpdir(), 'gatewarden-consumers-'));
  try {
    const tarballs = packagesToPack().map((directory) => pack(directory, work));
    for (const [i, consumer] of CONSUMERS.entries()) {
      const directory = join(work, String(i));
      install(consumer, directory, tarballs);
      if (consumer.tsconfig !== undefined) {
        node(directory, join(installed('typescript'), 'bin/tsc'), '--project', consumer.tsconfig);
      }
      if (consumer.server !== undefined) await checkServer(directory, consumer.server);
      console.log(`consumer ok: ${consumer.name}`);
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The directories of the package and of all its dependencies, direct and indirect. */
function packagesToPack(): string[] {
  return Object.entries(lock.packages)
    .filter(([, entry]) => !('dev' in entry || 'devOptional' in entry || 'peer' in entry))
    .map(([path]) => join(ROOT, path));
}

function installed(name: string): string {
  return join(ROOT, 'node_modules', name);
}

function pack(directory: string, destination: string): string {
  const printed = npm(destination, 'pack', directory, '--ignore-scripts', '--json');
  const [packed]: { filename: string }[] = JSON.parse(printed);
  if (packed === undefined) throw new Error(`npm pack produced nothing for ${directory}`);
  return join(destination, packed.filename);
}

/** The dependencies are tarballs too, so that npm resolves them as it does for a user, without a registry or a cache. */
function install(consumer: Consumer, directory: string, tarballs: readonly string[]): void {
  cpSync(join(ROOT, 'test/consumers', consumer.project), directory, { recursive: true });
  npm(directory, 'install', '--offline', '--no-audit', '--no-fund', '--no-save', '--ignore-scripts', ...tarballs);
  for (const name of consumer.packages) {
    const link = join(directory, 'node_modules', name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(installed(name), link, 'junction');
  }
}

async function checkServer(directory: string, server: string): Promise<void> {
  const child = spawn(process.execPath, [server], {
    cwd: directory,
    env: { ...process.env, SECRET_KEY: SECRET },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const port: unknown = (await lines.next()).value;
    assert.match(String(port), /^\d+$/, `${server} did not start`);
    const get = (secret?: string) =>
      fetch(`http://127.0.0.1:${port}/jobs/seven`, {
        headers: secret === undefined ? {} : { authorization: `Bearer ${secret}` },
        signal: AbortSignal.timeout(10_000),
      });

    const anonymous = await get();
    assert.equal(anonymous.status, 401);
    assert.equal(anonymous.headers.get('content-type'), 'application/problem+json');
    assert.equal((await get('wrong-wrong-wrong-wrong-wrong-wrong')).status, 401);

    for (const remaining of [1, 0]) {
      const admitted = await get(SECRET);
      assert.equal(admitted.status, 200);
      assert.equal(admitted.headers.get('x-content-type-options'), 'nosniff');
      assert.match(admitted.headers.get('ratelimit') ?? '', new RegExp(`r=${remaining}\\b`));
      const { id, ip, oneIdentity } = (await admitted.json()) as Record<string, unknown>;
      assert.deepEqual({ id, ip }, { id: 'seven', ip: '127.0.0.1' });
      assert.equal(oneIdentity, true, 'gatewarden and gatewarden/express hold two copies of Exchange');
    }

    const refused = await get(SECRET);
    assert.equal(refused.status, 429);
    assert.ok(Number(refused.headers.get('retry-after')) >= 1);
    assert.equal(((await refused.json()) as Record<string, unknown>).code, 'quota-exceeded');
  } finally {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill();
      await once(child, 'exit');
    }
  }
}

function npm(cwd: string, ...args: readonly string[]): string {
  return execFileSync('npm', args, { cwd, encoding: 'utf8', shell: process.platform === 'win32', stdio: 'pipe' });
}

function node(cwd: string, ...args: readonly string[]): void {
  execFileSync(process.execPath, args, { cwd, stdio: 'inherit' });
}

await main();
