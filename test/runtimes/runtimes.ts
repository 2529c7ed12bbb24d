import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'tsup';
import { onTestFinished } from 'vitest';

/** The root of the repository. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MODULES = join(ROOT, 'node_modules');
/** Node binaries, a package of their own: `npm ci --prefix test/runtimes`. */
export const NODE_BINARIES = join(ROOT, 'test/runtimes/node_modules');

/** A JavaScript runtime that can serve `programs/service.js`. */
export interface Runtime {
  readonly name: string;
  /** The binary; undefined if its package has none for this machine. */
  readonly binary: string | undefined;
  readonly args: readonly string[];
  /** Whether it runs one file only, with all modules in it. */
  readonly bundled?: true;
}

/** The first of the files that exists. The binaries are called directly, so that no install script needs to run. */
function firstOf(...candidates: readonly string[]): string | undefined {
  return candidates.find((path) => existsSync(path));
}

const suffix = process.platform === 'win32' ? '.exe' : '';
const platform = process.platform === 'win32' ? 'windows' : process.platform;
const bunArch = process.arch === 'arm64' ? 'aarch64' : process.arch;
const denoPlatform = `${process.platform}-${process.arch}${process.platform === 'linux' ? '-glibc' : ''}`;

/** The binaries of the runtimes that are development dependencies of the package. */
export const BINARIES = {
  workerd: firstOf(
    join(
      MODULES,
      `@cloudflare/workerd-${platform}-${process.arch === 'x64' ? '64' : process.arch}/bin/workerd${suffix}`,
    ),
  ),
  // The install script of bun, if it ran, has moved the binary.
  bun: firstOf(join(MODULES, `@oven/bun-${platform}-${bunArch}/bin/bun${suffix}`), join(MODULES, 'bun/bin/bun.exe')),
  deno: firstOf(join(MODULES, `@deno/${denoPlatform}/deno${suffix}`)),
};

/** What Deno needs to find packages as Node does. */
export const DENO_ARGS = ['run', '--allow-all', '--no-lock', '--node-modules-dir=manual'];

export const RUNTIMES: readonly Runtime[] = [
  { name: 'Node', binary: process.execPath, args: ['node.js'] },
  { name: 'workerd', binary: BINARIES.workerd, args: ['serve', 'workerd.capnp', '--control-fd=1'], bundled: true },
  { name: 'Bun', binary: BINARIES.bun, args: ['bun.js'] },
  { name: 'Deno', binary: BINARIES.deno, args: [...DENO_ARGS, 'deno.js'] },
];

/** The binary of a major version of Node, of `test/runtimes/package.json`; undefined if it is not installed. */
export function nodeBinary(major: number): string | undefined {
  return firstOf(join(NODE_BINARIES, `node-${major}-${process.platform}-${process.arch}/bin/node${suffix}`));
}

/** Starts the service on a runtime and returns its origin. The package is the built one, installed under its own name. */
export async function start(runtime: Runtime): Promise<string> {
  if (!existsSync(join(ROOT, 'dist/index.js')))
    throw new Error('There is no dist: run `npm run build`, or `npm test`.');
  if (runtime.binary === undefined) throw new Error(`there is no ${runtime.name} for this machine`);
  const directory = mkdtempSync(join(tmpdir(), 'gatewarden-runtime-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  cpSync(new URL('programs', import.meta.url), directory, { recursive: true });
  link('gatewarden', ROOT, directory);
  for (const name of ['hono', '@hono/node-server']) link(name, join(MODULES, name), directory);
  if (runtime.bundled) await bundle(directory);
  const child = spawn(runtime.binary, runtime.args, { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const port = /"port":(\d+)/.exec(line)?.[1];
    if (port !== undefined) return `http://127.0.0.1:${port}`;
  }
  throw new Error(`${runtime.name} did not start: ${errors}`);
}

function link(name: string, target: string, directory: string): void {
  const path = join(directory, 'node_modules', name);
  mkdirSync(dirname(path), { recursive: true });
  symlinkSync(target, path, 'junction');
}

/** One module, as the tools for Workers make it. */
async function bundle(directory: string): Promise<void> {
  await build({
    config: false,
    entry: [join(directory, 'workerd.js')],
    outDir: join(directory, 'out'),
    outExtension: () => ({ js: '.js' }),
    format: 'esm',
    platform: 'neutral',
    noExternal: [/.*/],
    removeNodeProtocol: false,
    silent: true,
    esbuildOptions(options) {
      // Only with this prefix do Workers know a module of Node.
      options.external = ['node:*'];
      options.conditions = ['workerd', 'worker', 'browser'];
      options.mainFields = ['module', 'main'];
    },
  });
}
