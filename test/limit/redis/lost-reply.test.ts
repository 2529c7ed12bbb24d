import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { slidingWindow } from '../../../src/limit/policy.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import { describeRedis } from '../../redis/describe.js';
import { type RedisServer, startRedis } from '../../redis/server.js';

const policies = [slidingWindow({ limit: 10, window: '1h' })];

/** A proxy between client and server. On demand it drops the next reply and cuts the connection. */
class LossyProxy {
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  dropped = 0;
  dropNext = false;

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
        if (!this.dropNext) {
          client.write(reply);
          return;
        }
        this.dropNext = false;
        this.dropped++;
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
  let proxy: LossyProxy;
  let client: Redis;

  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.stop());

  beforeEach(async () => {
    await server.cli('FLUSHALL');
    proxy = new LossyProxy(server);
    await proxy.listen();
    client = new Redis(proxy.port, '127.0.0.1', { retryStrategy: () => 20 });
    client.on('error', () => {});
    await client.ping();
  });
  afterEach(() => {
    client.disconnect();
    proxy.close();
  });

  it('charges once, and returns the answer that was lost', async () => {
    const store = redisStore({ client, timeout: '5s', refusalCache: false });
    await store.admit(policies, ['key'], [1]);
    proxy.dropNext = true;
    // The client sends the call again over its next connection.
    expect(await store.admit(policies, ['key'], [3])).toMatchObject({ kind: 'admitted', states: [{ remaining: 6 }] });
    expect(proxy.dropped).toBe(1);
    expect(await store.peek(policies, ['key'])).toMatchObject([{ remaining: 6 }]);
    store.close();
  });

  it('corrects once if the client sends the call again', async () => {
    const store = redisStore({ client, timeout: '5s' });
    const decision = await store.admit(policies, ['key'], [4]);
    const other = await store.admit(policies, ['key'], [4]);
    if (decision.kind !== 'admitted' || other.kind !== 'admitted') throw new Error('refused');
    proxy.dropNext = true;
    await store.settle(decision.receipt, [1]);
    expect(proxy.dropped).toBe(1);
    expect(await store.peek(policies, ['key'])).toMatchObject([{ remaining: 5 }]);
    store.close();
  });

  it('corrects once if the client gives up and the store sends the call again', async () => {
    client.disconnect();
    client = new Redis(proxy.port, '127.0.0.1', { retryStrategy: () => 20, autoResendUnfulfilledCommands: false });
    client.on('error', () => {});
    await client.ping();
    const store = redisStore({ client });
    const decision = await store.admit(policies, ['key'], [4]);
    await store.admit(policies, ['key'], [4]);
    if (decision.kind !== 'admitted') throw new Error('refused');
    proxy.dropNext = true;
    await store.settle(decision.receipt, [1]);
    expect(proxy.dropped).toBe(1);
    expect(await store.peek(policies, ['key'])).toMatchObject([{ remaining: 5 }]);
    store.close();
  });
});
