import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Redis, RedisOptions } from 'ioredis';
import { listen, portOf } from '../listen.js';
import { connected } from './connected.js';

/** A proxy between client and server. On demand it drops the next reply and cuts the connection. */
export class LossyProxy {
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  readonly #clients: Redis[] = [];
  dropped = 0;
  dropNext = false;

  private constructor(target: { readonly host: string; readonly port: number }) {
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

  static async start(target: { readonly host: string; readonly port: number }): Promise<LossyProxy> {
    const proxy = new LossyProxy(target);
    await listen(proxy.#server);
    return proxy;
  }

  get port(): number {
    return portOf(this.#server);
  }

  /** A new client that is connected through the proxy. `stop()` disconnects it. */
  async client(options: RedisOptions): Promise<Redis> {
    const client = await connected(this.port, options);
    this.#clients.push(client);
    // So that no reply to what the client sends by itself is dropped.
    await client.ping();
    return client;
  }

  stop(): void {
    for (const client of this.#clients) client.disconnect();
    for (const socket of this.#open) socket.destroy();
    this.#server.close();
  }
}
