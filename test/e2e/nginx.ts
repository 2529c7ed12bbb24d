import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { needs } from './harness.js';

export interface Nginx {
  readonly port: number;
  stop(): Promise<void>;
}

/** Where a request goes, and from where. */
export interface Ask {
  readonly port: number;
  readonly path: string;
  readonly localAddress: string;
  readonly headers: Record<string, string>;
}

/** The status and headers of a response. Its body is discarded. */
export async function answerOf(options: Ask) {
  const sent = request({ host: '127.0.0.1', agent: false, ...options }).end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  response.resume();
  await once(response, 'end');
  return { status: response.statusCode, headers: response.headers };
}

/**
 * Starts nginx on a free port, for the host `name`, with the usual headers of a proxy and more `directives`. It writes only to
 * a temporary directory.
 */
export async function startNginx(upstream: string, name: string, directives = ''): Promise<Nginx> {
  const command = needs('nginx', ['nginx', '/usr/sbin/nginx'], 'nginx');
  const port = await freePort();
  const directory = mkdtempSync(join(tmpdir(), 'nginx-e2e-'));
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (folder) => `${folder}_temp_path ${directory}/${folder};`,
  );
  writeFileSync(
    join(directory, 'nginx.conf'),
    `daemon off; pid ${directory}/pid; error_log ${directory}/error.log;
events {}
http {
  access_log off;
  ${temporary.join('\n  ')}
  server {
    listen 127.0.0.1:${port};
    server_name ${name};
    location / {
      proxy_pass ${upstream};
      proxy_set_header Host $host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      ${directives}
    }
  }
}
`,
  );
  const child = spawn(
    command,
    ['-p', directory, '-c', join(directory, 'nginx.conf'), '-e', join(directory, 'error.log')],
    { stdio: 'inherit' },
  );
  const closed = once(child, 'close');
  for (let i = 0; ; i++) {
    const ask = { port, path: '/', localAddress: '127.0.0.1', headers: { Host: name } };
    if ((await answerOf(ask).catch(() => undefined)) !== undefined) break;
    if (i === 100 || child.exitCode !== null) throw new Error('nginx did not start');
    await new Promise((later) => setTimeout(later, 50));
  }
  return {
    port,
    async stop() {
      child.kill('SIGTERM');
      await closed;
      rmSync(directory, { recursive: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
