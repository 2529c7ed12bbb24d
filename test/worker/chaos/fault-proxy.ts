import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** What the network does to a message: delivers it after so many milliseconds, loses it, or breaks the connection. */
export type Fate = number | 'lost' | 'broken';

/**
 * A network between gateways and a worker. Messages of one connection keep their order. One that is late is delivered even
 * if its sender has left meanwhile.
 */
export class FaultProxy {
  /** The port of the worker, which changes when it starts again. */
  target = 0;
  /** Decides about each message. */
  fate: () => Fate = () => 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor() {
    this.#server = createServer({ allowHalfOpen: true }, (client) => {
      const upstream = connect({ port: this.target, host: '127.0.0.1', allowHalfOpen: true });
      this.#join(client, upstream);
      this.#join(upstream, client);
    });
  }

  static async start(): Promise<FaultProxy> {
    const proxy = new FaultProxy();
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    let last = Promise.resolve();
    let isLost = false;
    const deliver = (act: () => void): void => {
      const fate = isLost ? 'lost' : this.fate();
      // What follows a lost message is lost as well: the connection has fallen silent.
      if (fate === 'lost') isLost = true;
      else if (fate === 'broken') for (const socket of [from, to]) socket.destroy();
      else if (fate === 0) last = last.then(act);
      else last = last.then(() => new Promise((resolve) => setTimeout(resolve, fate))).then(act);
    };
    from.on('error', () => undefined);
    from.on('data', (data) => deliver(() => to.writable && to.write(data)));
    from.on('end', () => deliver(() => to.end()));
    from.on('close', () => {
      this.#sockets.delete(from);
      deliver(() => to.destroy());
    });
  }
}
