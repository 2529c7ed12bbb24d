import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ENVIRONMENT } from './environment.js';
import { FOLDER, fileOf, programNamed } from './snippets.js';

/** Programs that listen: they run as they are, in a process of their own, with the built package. */
export const SERVERS: readonly string[] = ['quick-start', 'express-server', 'fastify-server', 'hono-server'];

/** Where they are while they run. */
export const SERVER_FOLDER = join(FOLDER, 'servers');

const ANY_PORT = fileURLToPath(new URL('any-port.mjs', import.meta.url));

export interface Started {
  readonly origin: string;
  stop(): Promise<void>;
}

/** Starts a program as it is, on a free port. */
export async function started(name: string): Promise<Started> {
  const snippet = programNamed(name);
  const file = join(SERVER_FOLDER, fileOf(snippet));
  await mkdir(SERVER_FOLDER, { recursive: true });
  await writeFile(file, snippet.code);
  const child = spawn(process.execPath, ['--import', ANY_PORT, file], {
    env: { ...process.env, SECRET_KEY: ENVIRONMENT.SECRET_KEY },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const port = await portOf(child);
  return {
    origin: `http://localhost:${port}`,
    async stop() {
      if (child.exitCode !== null) return;
      child.kill();
      await once(child, 'exit');
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
