import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { Report } from './harness/run-suites.js';
import manifest from './package.json' with { type: 'json' };
import { BINARIES, DENO_ARGS, nodeBinary } from './runtimes.js';

/** The major versions of Node that the suites run on. */
export const NODE_MAJORS = [20, 22, 24, 26] as const;
/** How long one runtime may take. */
const TIMEOUT_MS = 600_000;
/** The date for which a Worker asks for the behavior of its runtime. */
const COMPATIBILITY_DATE = '2026-10-01';

/** One column of the table: a runtime that runs the suites. */
export interface Column {
  readonly name: string;
  /** The major version, of Node. */
  readonly major?: number;
  readonly kind: 'node' | 'bun' | 'deno' | 'workerd';
  /** Undefined if there is no binary for this machine. */
  readonly binary: string | undefined;
}

export function columns(): readonly Column[] {
  return [
    ...NODE_MAJORS.map((major) => ({ name: 'Node', major, kind: 'node', binary: nodeBinary(major) }) as const),
    { name: 'Bun', kind: 'bun', binary: BINARIES.bun },
    { name: 'Deno', kind: 'deno', binary: BINARIES.deno },
    { name: 'workerd', kind: 'workerd', binary: BINARIES.workerd },
  ];
}

/** The major versions of Node that `package.json` has for a machine. There is no Node 20 for macOS on ARM. */
export function majorsFor(platform: string, arch: string): readonly number[] {
  return NODE_MAJORS.filter((major) => `node-${major}-${platform}-${arch}` in manifest.optionalDependencies);
}

/** The version of a runtime, as it says itself. */
export function versionOf({ binary }: Column): string {
  const said = execFileSync(binary ?? '', ['--version'], { encoding: 'utf8' });
  return /\d+(?:[.-]\d+)+/.exec(said)?.[0] ?? said.trim();
}

/** Runs test files, which are in the bundle in `directory`, on a runtime: each list of files in a process of its own. */
export async function runOn(
  column: Column,
  directory: string,
  groups: readonly (readonly string[])[],
): Promise<Report> {
  const reports: Report[] = [];
  const run = column.kind === 'workerd' ? onWorker : onProcess;
  for (const files of groups) if (files.length > 0) reports.push(await run(column, directory, files));
  return {
    results: reports.flatMap(({ results }) => results),
    errors: reports.flatMap(({ errors }) => errors),
  };
}

type RunFiles = (column: Column, directory: string, files: readonly string[]) => Promise<Report>;

const onProcess: RunFiles = async ({ binary = '', kind, name }, directory, files) => {
  const out = join(directory, `report-${Math.random().toString(36).slice(2)}.json`);
  const args = [...(kind === 'deno' ? DENO_ARGS : []), ...(kind === 'node' ? ['--no-warnings'] : [])];
  const child = spawn(binary, [...args, `${kind}.mjs`, out, ...files], {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = outputOf(child.stdout, child.stderr);
  await endOf(child);
  if (!existsSync(out)) throw new Error(`${name} ended without a report:\n${said().slice(-4000)}`);
  return JSON.parse(readFileSync(out, 'utf8')) as Report;
};

const onWorker: RunFiles = async ({ binary = '' }, directory, files) => {
  writeFileSync(join(directory, 'worker.capnp'), CONFIG);
  const args = ['serve', 'worker.capnp', '--control-fd=1'];
  const child = spawn(binary, args, { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = outputOf(child.stderr);
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const port = /"port":(\d+)/.exec(line)?.[1];
      if (port === undefined) continue;
      const response = await fetch(`http://127.0.0.1:${port}`, {
        method: 'POST',
        body: JSON.stringify(files),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      if (!response.ok) throw new Error(`workerd answered ${response.status}:\n${said().slice(-4000)}`);
      return (await response.json()) as Report;
    }
    throw new Error(`workerd did not start:\n${said().slice(-4000)}`);
  } finally {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }
};

function outputOf(...streams: readonly NodeJS.ReadableStream[]): () => string {
  let text = '';
  for (const stream of streams) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
  }
  return () => text;
}

async function endOf(child: ReturnType<typeof spawn>): Promise<void> {
  const abort = new AbortController();
  const timeout = delay(TIMEOUT_MS, undefined, { signal: abort.signal }).then(
    () => child.kill('SIGKILL'),
    () => undefined,
  );
  await once(child, 'close');
  abort.abort();
  await timeout;
}

const CONFIG = `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "main", worker = .suites)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);

const suites :Workerd.Worker = (
  modules = [(name = "worker.mjs", esModule = embed "workerd.mjs")],
  compatibilityDate = "${COMPATIBILITY_DATE}",
);
`;
