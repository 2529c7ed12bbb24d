import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { exited, findExecutable, until } from '../redis/processes.js';
import { pageText } from './snippets.js';

const BINARY = findExecutable('nginx') ?? ['/usr/sbin/nginx'].find((path) => existsSync(path));
/** An address of this machine that is not loopback: a client that connects to it comes from there. */
const ADDRESS = Object.values(networkInterfaces())
  .flatMap((list) => list ?? [])
  .find(({ internal, family }) => !internal && family === 'IPv4')?.address;

/** Where nginx can run, and be called from an address that is not trusted. */
export const nginxAddress: string | undefined = BINARY === undefined ? undefined : ADDRESS;

export interface Nginx {
  readonly port: number;
  stop(): Promise<void>;
}

/** The `location` block that a page shows, for another upstream. */
export function locationOf(page: string, upstream: string): string {
  const [, location = ''] = /```nginx\n([\s\S]*?)```/.exec(pageText(page)) ?? [];
  return location.replace('http://127.0.0.1:3000', upstream);
}

/** Starts nginx with this `location` on a free port of all addresses. It writes only to a temporary directory. */
export async function startNginx(location: string): Promise<Nginx> {
  if (BINARY === undefined) throw new Error('there is no nginx on the PATH');
  const port = await freePort();
  const directory = await mkdtemp(join(tmpdir(), 'nginx-docs-'));
  const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${name};`);
  const configuration = `daemon off; pid ${directory}/pid; events {}
http { access_log off; ${folders.join(' ')} server { listen ${port}; ${location} } }
`;
  const file = join(directory, 'nginx.conf');
  await writeFile(file, configuration);
  const child = spawn(BINARY, ['-p', directory, '-c', file, '-e', join(directory, 'error.log')], { stdio: 'inherit' });
  const isUp = () =>
    fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    );
  await until('nginx answers', isUp);
  return {
    port,
    async stop() {
      child.kill();
      await exited(child);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
