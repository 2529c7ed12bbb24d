import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ENVIRONMENT } from './environment.js';
import { FOLDER, fileOf, programNamed } from './snippets.js';

/** Programs that listen: they run as they are, in a process of their own, with the built package. */
export const SERVERS: readonly string[] = [
  'quick-start',
  'express-server',
  'fastify-server',
  'hono-server',
  'keys-from-a-setting',
];

/** Where they are while they run. Each test file has its own, since one removes it while another may run. */
export const SERVER_FOLDER = join(FOLDER, `servers-${process.pid}`);

const ANY_PORT = fileURLToPath(new URL('any-port.mjs', import.meta.url));

export interface Started {
  readonly origin: string;
  /** Sends SIGTERM. Resolves with the exit code, or null if the signal ended the process. */
  stop(): Promise<number | null>;
}

/** Starts a program as it is, on a free port, with the settings of `ENVIRONMENT` and these. */
export async function started(name: string, env: Readonly<Record<string, string>> = {}): Promise<Started> {
  const snippet = programNamed(name);
  const file = join(SERVER_FOLDER, fileOf(snippet));
  await mkdir(SERVER_FOLDER, { recursive: true });
  await writeFile(file, snippet.code);
  const child = spawn(process.execPath, ['--import', ANY_PORT, file], {
    env: { ...process.env, ...ENVIRONMENT, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const port = await portOf(child);
  return {
    origin: `http://localhost:${port}`,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill();
        await once(child, 'exit');
      }
      return child.exitCode;
    },
  };
}

async function portOf({ stdout }: ChildProcess): Promise<string> {
  if (stdout !== null) {
    for await (const line of createInterface({ input: stdout })) {
      const port = /^listening on (\d+)$/.exec(line)?.[1];
      if (port !== undefined) return port;
    }
  }
  throw new Error('the program ended without listening');
}
