import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const START_LIMIT_MS = 120_000;
const STEP_LIMIT_MS = 60_000;

/** One check with its name. The check throws if it fails. */
export type Step = readonly [name: string, step: () => unknown];

/** An example that is running. */
export interface Running {
  readonly origin: string;
  /** Everything that it has printed so far. */
  printed(): string;
  stop(): Promise<void>;
}

/** Environment variables that configure the examples. Those of this process are not passed on. */
const EXAMPLE_VARIABLES =
  /^(POINT_E_|API_|ADMIN_API_KEY$|OPERATOR_KEY$|JWT_SECRET$|AUTH_|ALLOW_|DEFAULT_RATE_|AUTHENTICATED_RATE_|MAX_FILE_|MAX_GPU_|ENABLE_USAGE_|LOG_LEVEL$|REDIS_URL$|PUBLIC_URL$|RATE_LIMIT_|CORS_|TRUSTED_|INGEST_|WORKER_URL$|HOST$|PORT$|NODE_ENV$|ENVIRONMENT$|DEBUG$|DATA_FILE$|DATA_DIRECTORY$|JOB_LIFETIME$|GPU_)/;

/** Runs an npm script with only these settings. Resolves once the script prints its URL. */
export async function npmRun(args: readonly string[], env: Record<string, string>, ready: RegExp): Promise<Running> {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !EXAMPLE_VARIABLES.test(name)));
  const child = spawn('npm', args, {
    env: { ...inherited, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  const closed = once(child, 'close');
  const timer = setTimeout(() => kill(child), START_LIMIT_MS);
  let printed = '';
  const origin = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      printed += `${line}\n`;
      const found = ready.exec(line)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once('close', () => reject(new Error(`npm ${args.join(' ')} ended before it was ready:\n${printed}`)));
  }).finally(() => clearTimeout(timer));
  return {
    origin,
    printed: () => printed,
    async stop() {
      kill(child);
      await closed;
    },
  };
}

/** npm and all processes that it started are one process group. */
function kill(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null) return;
  try {
    process.kill(-child.pid, 'SIGTERM');
  } catch {
    // The process group has already ended.
  }
}

export function run(
  command: string,
  args: readonly string[],
  env: Record<string, string>,
  cwd?: string,
  timeout = STEP_LIMIT_MS,
): string {
  const { status, stdout, stderr } = spawnSync(command, args, {
    env: { ...process.env, ...env },
    encoding: 'utf8',
    timeout,
    ...(cwd === undefined ? {} : { cwd }),
  });
  if (status !== 0) throw new Error(`${command} failed (${status}):\n${stdout}${stderr}`);
  return stdout;
}

export function check(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

export function same(got: unknown, expected: unknown, what: string): void {
  const [one, other] = [JSON.stringify(got), JSON.stringify(expected)];
  check(one === other, `${what}: got ${one}, expected ${other}`);
}

/** The first of these commands that is installed. */
export function needs(what: string, commands: readonly string[], debian: string): string {
  const found = commands.find((command) => spawnSync(command, ['--version']).error === undefined);
  if (found === undefined) throw new Error(`test:e2e needs ${what} (Debian: apt-get install ${debian})`);
  return found;
}

export function pythonWithRequests(): string {
  for (const python of ['python3', '/usr/bin/python3']) {
    if (spawnSync(python, ['-c', 'import requests']).status === 0) return python;
  }
  throw new Error('test:e2e needs a Python 3 with "requests" (Debian: apt-get install python3-requests)');
}
