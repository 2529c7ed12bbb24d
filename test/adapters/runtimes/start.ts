import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { BINARIES, DENO_ARGS, ROOT } from '../../runtimes/runtimes.js';

/** Where the programs of the tests are. */
export const PROGRAMS = fileURLToPath(new URL('.', import.meta.url));

/** A runtime that serves one file. */
export interface WebRuntime {
  readonly name: 'bun' | 'deno' | 'workerd' | 'node';
  /** Undefined if its package has none for this machine. */
  readonly binary: string | undefined;
  readonly args: (file: string) => readonly string[];
}

export const WEB_RUNTIMES: readonly WebRuntime[] = [
  { name: 'bun', binary: BINARIES.bun, args: (file) => [file] },
  { name: 'deno', binary: BINARIES.deno, args: (file) => [...DENO_ARGS, file] },
  {
    name: 'workerd',
    binary: BINARIES.workerd,
    args: (file) => ['serve', file.replace(/js$/, 'capnp'), '--control-fd=1'],
  },
  { name: 'node', binary: process.execPath, args: (file) => [file] },
];

/** The settings of workerd, with `SECRET_KEY` as a binding. */
function workerdConfig(secretKey: string): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .service)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const service :Workerd.Worker = (
  modules = [(name = "service.js", esModule = embed "service.js")],
  bindings = [(name = "SECRET_KEY", text = "${secretKey}"), (name = "MODEL", text = "small")],
  compatibilityDate = "2025-09-01",
  compatibilityFlags = ["nodejs_compat", "enable_request_signal"],
);
`;
}

/** Serves a program in one file, with this package from its source. */
export async function startProgram(
  { binary, args }: WebRuntime,
  program: { readonly file: string } | { readonly code: string },
  secretKey: string,
): Promise<{ readonly port: number; stop(): Promise<void> }> {
  if (binary === undefined) throw new Error('there is no binary');
  const directory = mkdtempSync(join(tmpdir(), 'gatewarden-web-'));
  const outfile = join(directory, 'service.js');
  await build({
    ...('file' in program
      ? { entryPoints: [program.file] }
      : { stdin: { contents: program.code, loader: 'ts', resolveDir: ROOT } }),
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'es2022',
    alias: {
      gatewarden: join(ROOT, 'src/index.ts'),
      'gatewarden/web': join(ROOT, 'src/adapters/web-handler.ts'),
    },
    loader: { '.lua': 'text' },
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire('file:///');" },
    logLevel: 'silent',
  });
  writeFileSync(join(directory, 'service.capnp'), workerdConfig(secretKey));
  const child = spawn(binary, args(outfile), {
    cwd: directory,
    env: { ...process.env, SECRET_KEY: secretKey },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    rmSync(directory, { recursive: true, force: true });
  };
  for await (const line of createInterface(child.stdout)) {
    const port = /"port":(\d+)/.exec(line)?.[1];
    if (port !== undefined) return { port: Number(port), stop };
  }
  await stop();
  throw new Error('the program has ended');
}
