/**
 * The package as its users see it: packed, installed from the tarball into projects outside this one (ESM, CJS,
 * TypeScript `nodenext` in both formats, TypeScript `bundler`, TypeScript without any types of Express), type-checked
 * with `skipLibCheck: false`, started, and asked over HTTP. Nothing comes from a registry.
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
  /** Folder below test/consumers. */
  readonly project: string;
  /** What it has beside the tarball, from our own node_modules. */
  readonly packages: readonly string[];
  readonly tsconfig?: string;
  /** What to start; it prints its port. Left out where there are only types to see. */
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
    name: 'TypeScript without types of Express',
    project: 'ts-no-express-types',
    packages: ['@types/node'],
    tsconfig: 'tsconfig.json',
  },
];

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SECRET = 'consumer-secret-consumer-secret-1234';

async function main(): Promise<void> {
  if (!existsSync(join(ROOT, 'dist/index.js'))) throw new Error('There is no dist: run `npm run build` first.');
  const work = mkdtempSync(join(tmpdir(), 'gatewarden-consumers-'));
  try {
    const tarballs = shipped().map((folder) => pack(folder, work));
    for (const [i, consumer] of CONSUMERS.entries()) {
      const folder = join(work, String(i));
      install(consumer, folder, tarballs);
      if (consumer.tsconfig !== undefined) {
        node(folder, join(installed('typescript'), 'bin/tsc'), '--project', consumer.tsconfig);
      }
      if (consumer.server !== undefined) await ask(folder, consumer.server);
      console.log(`consumer ok: ${consumer.name}`);
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The folders of the package and of all that comes with it, the dependencies of its dependencies too. */
function shipped(): string[] {
  return Object.entries(lock.packages)
    .filter(([, entry]) => !('dev' in entry || 'devOptional' in entry || 'peer' in entry))
    .map(([path]) => join(ROOT, path));
}

function installed(name: string): string {
  return join(ROOT, 'node_modules', name);
}

function pack(folder: string, destination: string): string {
  const printed = npm(destination, 'pack', folder, '--ignore-scripts', '--json');
  const [packed]: { filename: string }[] = JSON.parse(printed);
  if (packed === undefined) throw new Error(`npm packed nothing of ${folder}`);
  return join(destination, packed.filename);
}

/** What the package depends on comes as tarballs too, so that npm resolves it as for a user, and without any cache. */
function install(consumer: Consumer, folder: string, tarballs: readonly string[]): void {
  cpSync(join(ROOT, 'test/consumers', consumer.project), folder, { recursive: true });
  npm(folder, 'install', '--offline', '--no-audit', '--no-fund', '--no-save', '--ignore-scripts', ...tarballs);
  for (const name of consumer.packages) {
    const link = join(folder, 'node_modules', name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(installed(name), link, 'junction');
  }
}

async function ask(folder: string, server: string): Promise<void> {
  const child = spawn(process.execPath, [server], {
    cwd: folder,
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

    const stranger = await get();
    assert.equal(stranger.status, 401);
    assert.equal(stranger.headers.get('content-type'), 'application/problem+json');
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
