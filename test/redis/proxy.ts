import { connect, createServer, type Server, type Socket } from 'node:net';
import { listen, portOf } from '../listen.js';

/** A proxy between client and server that can break a connection in the ways in which networks do. */
export class RedisProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #silent = new WeakSet<Socket>();
  /** Connections of clients so far. */
  connections = 0;
  /** Whether connections fall silent as soon as they are open. */
  #silentFromNowOn = false;
  #refusing = false;

  private constructor(target: { readonly host: string; readonly port: number }) {
    // A dead peer answers no FIN either.
    this.#server = createServer({ allowHalfOpen: true }, (client) => {
      if (this.#refusing) return void client.destroy();
      this.connections++;
      const upstream = connect(target.port, target.host);
      for (const [from, to] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        this.#sockets.add(from);
        if (this.#silentFromNowOn) this.#silent.add(from);
        from.on('error', () => {});
        from.on('data', (data) => void (this.#silent.has(from) || to.write(data)));
        from.on('end', () => void (this.#silent.has(from) || to.end()));
        from.on('close', () => {
          this.#sockets.delete(from);
          if (!this.#silent.has(from)) to.destroy();
        });
      }
    });
  }

  static async start(target: { readonly host: string; readonly port: number }): Promise<RedisProxy> {
    const proxy = new RedisProxy(target);
    await listen(proxy.#server);
    return proxy;
  }

  get port(): number {
    return portOf(this.#server);
  }

  /** Swallows all bytes of the open connections, without FIN or RST. With `newOnes`, those of later connections too. */
  silence({ newOnes = false } = {}): void {
    this.#silentFromNowOn = newOnes;
    for (const socket of this.#sockets) this.#silent.add(socket);
  }

  /** Later connections work again. */
  speak(): void {
    this.#silentFromNowOn = false;
  }

  /** Cuts all connections, and every new one. */
  refuse(): void {
    this.#refusing = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Resets all open connections. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  accept(): void {
    this.#refusing = false;
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}
