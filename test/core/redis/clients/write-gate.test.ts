import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { createClient, createCluster } from 'redis';
import { expect, it, onTestFinished } from 'vitest';
import { nodeRedisPort } from '../../../../src/core/redis/clients/node-redis.js';

const COMMAND = /^\*(\d+)\r\n/;
const PART = /^\$(\d+)\r\n/;

/** The first command in a text, and what follows it. Undefined if it has not arrived whole. */
function firstCommand(text: string): { readonly parts: readonly string[]; readonly rest: string } | undefined {
  const head = COMMAND.exec(text);
  if (head === null) return undefined;
  let rest = text.slice(head[0].length);
  const parts: string[] = [];
  while (parts.length < Number(head[1])) {
    const part = PART.exec(rest);
    const length = Number(part?.[1]);
    if (part === null || rest.length < part[0].length + length + 2) return undefined;
    parts.push(rest.slice(part[0].length, part[0].length + length));
    rest = rest.slice(part[0].length + length + 2);
  }
  return { parts, rest };
}

/** What a node replies to CLUSTER SLOTS if it has all of them. */
function allSlotsAt(port: number): string {
  return `*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:${port}\r\n$4\r\nnode\r\n`;
}

/** A server whose scripts return their last argument. */
async function startEcho() {
  let latest: Socket | undefined;
  const received: string[] = [];
  const server = createServer((socket) => {
    latest = socket;
    let bytesSoFar = '';
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      bytesSoFar += bytes;
      for (let found = firstCommand(bytesSoFar); found !== undefined; found = firstCommand(bytesSoFar)) {
        bytesSoFar = found.rest;
        const [name, ...rest] = found.parts;
        const text = rest.at(-1) ?? '';
        if (name === 'EVALSHA') received.push(text);
        if (name === 'CLUSTER') socket.write(allSlotsAt(socket.localPort ?? 0));
        else
          socket.write(name === 'EVALSHA' ? `$${text.length}\r\n${text}\r\n` : name === 'INCR' ? ':1\r\n' : '+OK\r\n');
      }
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return { port: address.port, received, reset: () => latest?.resetAndDestroy() };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

async function open() {
  const server = await startEcho();
  const client = createClient({ socket: { host: '127.0.0.1', port: server.port, reconnectStrategy: 5 } });
  client.on('error', () => {});
  await client.connect();
  onTestFinished(() => client.destroy());
  return { ...server, client, port: nodeRedisPort(client) };
}

it('a call that node-redis is about to write to a connection that breaks gets its own answer, and so do later ones', async () => {
  const { port, reset } = await open();
  for (let i = 0; i < 20; i++) {
    await turn();
    const calls = [`${i}-a`, `${i}-b`].map((text) => port.evalsha('sha', 1, 'key', text));
    reset();
    // Sent again at once, and sent while the connection is away.
    await turn();
    calls.push(port.evalsha('sha', 1, 'key', `${i}-c`));
    expect(await Promise.all(calls)).toEqual([`${i}-a`, `${i}-b`, `${i}-c`]);
    expect(await port.evalsha('sha', 1, 'key', `${i}-d`)).toBe(`${i}-d`);
  }
});

async function openCluster() {
  const server = await startEcho();
  const client = createCluster({
    rootNodes: [{ socket: { host: '127.0.0.1', port: server.port } }],
    defaults: { socket: { reconnectStrategy: 5 } },
  });
  client.on('error', () => {});
  await client.connect();
  onTestFinished(() => client.destroy());
  return { ...server, port: nodeRedisPort(client) };
}

it.each([
  ['a server', open],
  ['a Cluster', openCluster],
] as const)(
  'calls to %s that wait behind a long one, when the connection breaks, get their own answers',
  async (_, openOne) => {
    const { port, reset } = await openOne();
    for (let i = 0; i < 20; i++) {
      const texts = ['a', 'b', 'c'].map((name) => `${i}-${name}`.padEnd(20_000, '.'));
      const calls = texts.map((text) => port.evalsha('sha', 1, 'key', text));
      // A Cluster client queues a call a moment later.
      await new Promise((resolve) => process.nextTick(resolve));
      // node-redis writes 16 KiB in a turn, and the rest in later ones.
      await turn();
      reset();
      expect(await Promise.all(calls)).toEqual(texts);
      expect(await port.evalsha('sha', 1, 'key', `${i}-d`)).toBe(`${i}-d`);
    }
  },
);

it('calls that are withdrawn are sent again in their order', async () => {
  const { port, reset, received } = await open();
  for (let i = 0; i < 20; i++) {
    await turn();
    const texts = ['a', 'b', 'c'].map((name) => `${i}-${name}`);
    const calls = texts.map((text) => port.evalsha('sha', 1, 'key', text));
    reset();
    await Promise.all(calls);
    expect(received.splice(0)).toEqual(texts);
  }
});

it('a call that was written is sent again into the new connection', async () => {
  const { port, reset } = await open();
  for (let i = 0; i < 20; i++) {
    const calls = [port.evalsha('sha', 1, 'key', `${i}-a`)];
    await turn();
    await turn();
    // What was written waits for its answer while another is about to be written.
    calls.push(port.evalsha('sha', 1, 'key', `${i}-b`));
    reset();
    expect(await Promise.all(calls)).toEqual([`${i}-a`, `${i}-b`]);
  }
});

it('a command that must not run twice is sent if it was not written', async () => {
  const { port, reset } = await open();
  for (let i = 0; i < 20; i++) {
    await turn();
    const counted = port.incr('key');
    reset();
    expect(await counted).toBe(1);
  }
});
