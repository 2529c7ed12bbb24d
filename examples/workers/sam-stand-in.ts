/**
 * A STAND-IN for a SAM worker on a GPU: `POST /segment` accepts an image as its body and responds with masks of its bright
 * regions, found on the CPU and without a model. It binds to loopback and has no authentication of its own.
 */
import { existsSync, realpathSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { segment } from './segmentation.js';

const MAX_BYTES = 512 * 1024 * 1024;

const Query = z.object({
  normalize: z.stringbool().default(false),
  blur: z.coerce.number().min(0.3).max(10).optional(),
});

export function createSamStandIn(): Server {
  return createServer((request, response) => {
    respond(request, response).catch((error: unknown) => {
      console.error('sam stand-in:', error);
      send(response, 422, { error: 'the image cannot be segmented' });
    });
  });
}

async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://worker');
  if (request.method === 'GET' && pathname === '/ready') return send(response, 200, { ready: true });
  if (request.method !== 'POST' || pathname !== '/segment') return send(response, 404, { error: 'not found' });
  const query = Query.safeParse(Object.fromEntries(searchParams));
  if (!query.success) return send(response, 400, { error: 'bad preprocessing' });
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BYTES) return send(response, 413, { error: 'too large' });
    chunks.push(chunk);
  }
  return send(response, 200, await segment(Buffer.concat(chunks), query.data));
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
}

// Started as a process: it reports its URL to the parent process or on standard output.
const [, script] = process.argv;
if (script !== undefined && existsSync(script) && realpathSync(script) === fileURLToPath(import.meta.url)) {
  const server = createSamStandIn().listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
    const address = server.address();
    const url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
    if (process.send === undefined) console.log(`sam stand-in listening on ${url}`);
    else process.send({ url });
  });
  process.once('disconnect', () => process.exit(0));
}
