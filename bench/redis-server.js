// A redis-server of its own for a row: in memory, on a free port of the loopback address.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { onCore } from './load.js';

/** Why no redis-server can be started, or undefined. */
export function redisMissing() {
  return spawnSync('redis-server', ['--version']).error === undefined ? undefined : 'redis-server is not installed.';
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

async function answers(port) {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    socket.write('PING\r\n');
    const [data] = await once(socket, 'data');
    return data.toString().startsWith('+PONG');
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/**
 * Starts a redis-server and waits until it answers.
 * @param core pins it to a core, see `onCore`
 * @returns `{ port, pid, stop }`; it also stops when this process exits
 */
export async function startRedis({ core, args = [] } = {}) {
  const port = await freePort();
  const line = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', ...args];
  const [command, commandArgs] = onCore(core, 'redis-server', line);
  const server = spawn(command, commandArgs, { stdio: 'ignore' });
  const kill = () => server.kill('SIGKILL');
  process.once('exit', kill);
  const gone = once(server, 'exit');
  gone.catch(() => undefined);
  while (!(await answers(port))) {
    if (server.exitCode !== null || server.pid === undefined) throw new Error('redis-server did not start');
    await new Promise((later) => setTimeout(later, 20));
  }
  return {
    port,
    pid: server.pid,
    stop: async () => {
      process.off('exit', kill);
      server.kill('SIGKILL');
      await gone;
    },
  };
}
