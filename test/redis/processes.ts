import { type ChildProcess, type Serializable, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const LUA_LOADER = new URL('lua-loader.js', import.meta.url).href;
const LOG_LENGTH = 8_000;

/** The path of a program on the `PATH`, or undefined if there is none. */
export function findExecutable(name: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Resolves once `holds` returns true, for conditions without an event. Rejects after `within` milliseconds. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, within = 10_000): Promise<void> {
  const end = performance.now() + within;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`Waited ${within} ms in vain: ${what}`);
    await delay(10);
  }
}

/** Whether a process of this id lives. A zombie that has not been reaped counts as alive. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Resolves once the child process is gone, at once if it never started. */
export async function exited(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  // Not events.once, which rejects on an 'error' before, for example of a message that could not be sent.
  await new Promise((resolve) => child.once('exit', resolve));
}

/** Collects the end of a process' output, to show it if the process fails. */
export function tail(...streams: readonly (NodeJS.ReadableStream | null)[]): () => string {
  let text = '';
  for (const stream of streams) {
    stream?.on('data', (chunk) => {
      text = (text + chunk).slice(-LOG_LENGTH);
    });
  }
  return () => text;
}

/** Ends a child process and removes a folder when this process dies, even by SIGKILL. */
export interface Guard {
  /** Watches this child instead of the previous one. */
  watch(child: ChildProcess): void;
  /** Ends the guard, and the child that it still watches. */
  end(): Promise<void>;
}

/** A shell that waits for its standard input to close, as happens when this process dies. No exit handler runs then. */
const GUARD = 'while read -r line; do pid=$line; done; [ -z "$pid" ] || kill -9 "$pid"; [ -z "$1" ] || rm -rf "$1"';

export function startGuard(folder = ''): Guard {
  // Detached, so that Ctrl-C in the terminal does not end it before its work is done.
  const shell = spawn('/bin/sh', ['-c', GUARD, 'guard', folder], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  shell.unref();
  shell.on('error', () => {});
  shell.stdin.on('error', () => {});
  return {
    watch(child) {
      shell.stdin.write(`${child.pid ?? ''}\n`);
      // After its exit, another process may get its id.
      child.once('exit', () => shell.stdin.writable && shell.stdin.write('\n'));
    },
    end() {
      shell.stdin.end();
      return exited(shell);
    },
  };
}

/** A TypeScript file that runs in a Node process of its own. */
export interface SpawnedWorker {
  readonly pid: number;
  /** Sends one message, which the worker receives by `process.on('message')`. */
  send(message: Serializable): void;
  /** The oldest message of the worker not yet received. Rejects if the worker exits first, or after `within` ms. */
  receive(within?: number): Promise<unknown>;
  /** Its exit code once it is gone, or null if a signal ended it. */
  readonly exit: Promise<number | null>;
  /** Kills it (SIGKILL) and waits until it is gone. */
  stop(): Promise<void>;
}

/**
 * Runs a TypeScript file in a Node process of its own, with `env` added to this process' environment. Messages are JSON
 * in both directions. The worker ends when it exits, at `stop()`, or with this process.
 */
export function spawnWorker(file: string | URL, env: Readonly<Record<string, string>> = {}): SpawnedWorker {
  const path = typeof file === 'string' ? file : fileURLToPath(file);
  const child = spawn(process.execPath, ['--import', 'tsx', '--import', LUA_LOADER, path], {
    cwd: ROOT, // where `tsx` and the paths of tsconfig.json are found
    env: { ...process.env, ...env },
    serialization: 'json',
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error(`Could not start ${process.execPath}`);

  const guard = startGuard();
  guard.watch(child);
  const errors = tail(child.stderr);
  const messages: unknown[] = [];
  const arrivals = new Set<() => void>();
  const arrived = () => {
    for (const wake of arrivals) wake();
  };
  child.on('message', (message) => {
    messages.push(message);
    arrived();
  });
  // Sending to a worker that has just died. receive() and exit report it.
  child.on('error', () => {});
  // 'close' comes after the last message and the last line of stderr. 'exit' may come earlier.
  let closed = false;
  const exit = new Promise<number | null>((resolve) => {
    child.once('close', async (code) => {
      closed = true;
      arrived();
      await guard.end();
      resolve(code);
    });
  });

  return {
    pid,
    exit,
    send: (message) => void child.send(message),
    async receive(within = 10_000) {
      const signal = AbortSignal.timeout(within);
      while (messages.length === 0) {
        if (closed) throw new Error(`Worker ${path} exited with ${child.exitCode ?? child.signalCode}\n${errors()}`);
        if (signal.aborted) throw new Error(`Worker ${path} sent nothing within ${within} ms\n${errors()}`);
        await new Promise<void>((resolve) => {
          const wake = () => {
            arrivals.delete(wake);
            signal.removeEventListener('abort', wake);
            resolve();
          };
          arrivals.add(wake);
          signal.addEventListener('abort', wake);
        });
      }
      return messages.shift();
    },
    async stop() {
      child.kill('SIGKILL');
      await exit;
    },
  };
}
