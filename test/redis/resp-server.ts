import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';

/** A server that speaks RESP and is no Redis: it replays what it is told to, one reply for each command. */
export interface RespServer {
  readonly port: number;
  /** The commands that were received: name and arguments. */
  readonly commands: readonly (readonly string[])[];
  stop(): void;
}

/** Starts a stand-in server. `reply` returns the bytes of the reply to one command; undefined: it is never answered. */
export async function startRespServer(
  reply: (name: string, args: readonly string[]) => string | undefined,
): Promise<RespServer> {
  const commands: (readonly string[])[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    let unread = Buffer.alloc(0);
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    socket.on('data', (data) => {
      unread = Buffer.concat([unread, data]);
      for (let read = readCommand(unread); read !== undefined; read = readCommand(unread)) {
        unread = unread.subarray(read.length);
        const [name = '', ...args] = read.command;
        commands.push(read.command);
        const bytes = reply(name.toLowerCase(), args);
        if (bytes !== undefined) socket.write(bytes);
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    commands,
    stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** The first command in these bytes, and its length; undefined if it has not arrived as a whole. */
function readCommand(bytes: Buffer): { readonly command: readonly string[]; readonly length: number } | undefined {
  let at = 0;
  const line = (): string | undefined => {
    const end = bytes.indexOf('\r\n', at);
    if (end < 0) return undefined;
    const text = bytes.toString('latin1', at, end);
    at = end + 2;
    return text;
  };
  const header = line();
  if (header === undefined) return undefined;
  const command: string[] = [];
  for (let i = Number(header.slice(1)); i > 0; i--) {
    const size = line();
    if (size === undefined) return undefined;
    const end = at + Number(size.slice(1));
    if (end + 2 > bytes.length) return undefined;
    command.push(bytes.toString('latin1', at, end));
    at = end + 2;
  }
  return { command, length: at };
}
