import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import { describeRedis } from '../../redis/describe.js';
import { type RedisServer, startRedis } from '../../redis/server.js';

const policies = [slidingWindow({ limit: 10, window: '1h' })];

/** Stands between client and server; on demand it swallows the next reply and cuts the connection. */
class Wire {
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  swallowed = 0;
  swallowNext = false;

  constructor(target: { readonly host: string; readonly port: number }) {
    this.#server = createServer((client) => {
      const upstream = connect(target.port, target.host);
      for (const socket of [client, upstream]) {
        this.#open.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          client.destroy();
          upstream.destroy();
          this.#open.delete(socket);
        });
      }
      client.pipe(upstream);
      upstream.on('data', (reply) => {
        if (!this.swallowNext) {
          client.write(reply);
          return;
        }
        this.swallowNext = false;
        this.swallowed++;
        client.destroy();
      });
    });
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    return address.port;
  }

  close(): void {
    for (const socket of this.#open) socket.destroy();
    this.#server.close();
  }
}

describeRedis('redisStore, when a reply is lost after Redis has run the call', () => {
  let server: RedisServer;
  let wire: Wire;
  let client: Redis;

  beforeEach(async () => {
    server = await startRedis();
    wire = new Wire(server);
    await wire.listen();
    client = new Redis(wire.port, '127.0.0.1', { retryStrategy: () => 20 });
    client.on('error', () => {});
    await client.ping();
  });
  afterEach(async () => {
    client.disconnect();
    wire.close();
    await server.stop();
  });

  it('charges once, and gives the answer that was lost', async () => {
    const store = redisStore({ client, timeout: '5s', refusalCache: false });
    await store.admit(policies, ['key'], 1);
    wire.swallowNext = true;
    // Answered after all: the client sends it again over its next connection.
    expect(await store.admit(policies, ['key'], 3)).toMatchObject({ kind: 'admitted', states: [{ remaining: 6 }] });
    expect(wire.swallowed).toBe(1);
    expect(await store.peek(policies, ['key'])).toMatchObject([{ remaining: 6 }]);
    store.close();
  });

  it('corrects once where the client sends it again', async () => {
    const store = redisStore({ client, timeout: '5s' });
    const decision = await store.admit(policies, ['key'], 4);
    const other = await store.admit(policies, ['key'], 4);
    if (decision.kind !== 'admitted' || other.kind !== 'admitted') throw new Error('refused');
    wire.swallowNext = true;
    await store.settle(decision.receipt, 1);
    expect(wire.swallowed).toBe(1);
    expect(await store.peek(policies, ['key'])).toMatchObject([{ remaining: 5 }]);
    store.close();
  });

  it('corrects once where the client gives up and the store sends it again', async () => {
    client.disconnect();
    client = new Redis(wire.port, '127.0.0.1', { retryStrategy: () => 20, autoResendUnfulfilledCommands: false });
    client.on('error', () => {});
    await client.ping();
    const store = redisStore({ client });
    const decision = await store.admit(policies, ['key'], 4);
    await store.admit(policies, ['key'], 4);
    if (decision.kind !== 'admitted') throw new Error('refused');
    wire.swallowNext = true;
    await store.settle(decision.receipt, 1);
    expect(wire.swallowed).toBe(1);
    expect(await store.peek(policies, ['key'])).toMatchObject([{ remaining: 5 }]);
    store.close();
  });
});
