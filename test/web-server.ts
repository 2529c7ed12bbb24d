import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { Serving } from './contracts/adapter/index.js';
import { startServing } from './serving.js';

/** What the server passes to a handler after the request. */
export interface WebConnection {
  readonly socket: Socket;
  /** As Deno names it. */
  readonly remoteAddr: { readonly transport: 'tcp'; readonly hostname: string };
}

/** A handler of the web, as a runtime calls it. */
export type WebFetch = (request: Request, connection: WebConnection) => Response | Promise<Response>;

/** Serves a handler of the web over sockets, as a runtime does: the signal of a request is aborted when the client leaves. */
export async function serveWeb(fetch: WebFetch): Promise<Serving> {
  const server = createServer((incoming, outgoing) => void answer(fetch, incoming, outgoing));
  // A runtime drops no header lines.
  server.maxHeadersCount = 0;
  return startServing(server);
}

async function answer(fetch: WebFetch, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const { socket } = incoming;
  if (socket.remoteAddress === undefined) {
    socket.destroy();
    return;
  }
  const left = new AbortController();
  // A response that waits for an earlier one does not report it. Many requests may wait on one connection.
  socket.setMaxListeners(0);
  socket.once('close', () => {
    if (!outgoing.writableFinished) left.abort();
  });
  const connection = { socket, remoteAddr: { transport: 'tcp', hostname: socket.remoteAddress } } as const;
  let response: Response;
  try {
    const request = requestOf(incoming, left.signal);
    // As runtimes do with a target or a host that is not of the web.
    response = request === undefined ? new Response('{}', { status: 400 }) : await fetch(request, connection);
  } catch {
    response = new Response('{}', { status: 500 });
  }
  if (outgoing.destroyed) {
    if (!response.bodyUsed) await response.body?.cancel();
    return;
  }
  outgoing.writeHead(response.status, [...response.headers].flat());
  if (response.body === null || incoming.method === 'HEAD') outgoing.end();
  else await pump(response.body.getReader(), outgoing);
}

function requestOf(incoming: IncomingMessage, signal: AbortSignal): Request | undefined {
  const headers = new Headers();
  for (let i = 0; i + 1 < incoming.rawHeaders.length; i += 2) {
    headers.append(incoming.rawHeaders[i] ?? '', incoming.rawHeaders[i + 1] ?? '');
  }
  const { method = 'GET', url = '/' } = incoming;
  const target = url.startsWith('/') ? `http://${incoming.headers.host}${url}` : url;
  if (!URL.canParse(target) || new URL(target).username !== '') return undefined;
  const hasBody = method !== 'GET' && method !== 'HEAD';
  const init = { method, headers, signal };
  if (!hasBody) return new Request(target, init);
  const body = Readable.toWeb(incoming) as ReadableStream;
  return new Request(target, { ...init, body, duplex: 'half' } as RequestInit);
}

async function pump(reader: ReadableStreamDefaultReader<Uint8Array>, outgoing: ServerResponse): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    outgoing.once('close', () => {
      resolve();
      reader.cancel().catch(() => undefined);
    });
  });
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || outgoing.destroyed) break;
      if (!outgoing.write(value)) await Promise.race([once(outgoing, 'drain'), closed]);
    }
    outgoing.end();
  } catch {
    outgoing.destroy();
  }
}
