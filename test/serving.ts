import { once } from 'node:events';
import type { Server } from 'node:net';
import type { Serving } from './contracts/adapter/index.js';
import { listen, portOf } from './listen.js';

/** Lets a server of HTTP listen on a free port of 127.0.0.1. */
export async function startServing(server: Server & { closeAllConnections?(): void }): Promise<Serving> {
  await listen(server);
  return {
    port: portOf(server),
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections?.();
      await closed;
    },
  };
}
