import type { Serving } from '../../contracts/adapter/index.js';
import type { WebFetch } from '../../web-server.js';
import { missing } from './not-here.js';

interface Server {
  readonly port?: number;
  readonly addr?: { readonly port: number };
  requestIP(request: Request): { readonly address: string } | null;
  stop(closesConnections: boolean): Promise<void>;
  readonly finished: Promise<void>;
}

/** The servers of Bun and of Deno, as far as they are called here. */
declare const Bun: { serve(options: object): Server } | undefined;
declare const Deno: { serve(options: object, handler: object): Server } | undefined;

const socket = missing('needs the socket of the connection') as never;
const failed = () => new Response('{}', { status: 500 });

/** Stands in for `test/web-server.ts`: serves a handler with the server of the runtime itself. */
export async function serveWeb(fetch: WebFetch): Promise<Serving> {
  const address = { port: 0, hostname: '127.0.0.1' };
  if (typeof Bun !== 'undefined') {
    const server = Bun.serve({
      ...address,
      idleTimeout: 0,
      error: failed,
      fetch: (request: Request, server: Server) =>
        fetch(request, {
          socket,
          remoteAddr: { transport: 'tcp', hostname: server.requestIP(request)?.address ?? '' },
        }),
    });
    return { port: server.port ?? 0, close: () => server.stop(true) };
  }
  if (typeof Deno !== 'undefined') {
    const stop = new AbortController();
    const server = Deno.serve(
      { ...address, signal: stop.signal, onListen: () => undefined, onError: failed },
      (request: Request, { remoteAddr }: { remoteAddr: { readonly transport: 'tcp'; readonly hostname: string } }) =>
        fetch(request, { socket, remoteAddr }),
    );
    return {
      port: server.addr?.port ?? 0,
      async close() {
        stop.abort();
        await server.finished;
      },
    };
  }
  return (missing('needs sockets') as () => never)();
}
