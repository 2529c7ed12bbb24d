/**
 * A STAND-IN for a GPU worker: it implements the contract of examples/workers/README.md, but has no model and uses no GPU.
 * It derives a shape from a hash of the prompt, so that the gateway in front of it can be tried on any machine.
 *
 * Two markers in a prompt: `[fail]` responds with 500, to show that a failed generation is refunded, and `[slow]` takes
 * about 5 s, to try client disconnects and deadlines.
 */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, realpathSync } from 'node:fs';
import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Mesh, meshRings } from './mesh.js';
import { encodePly } from './ply.js';

const WORKER = 'point-e stand-in (CPU, no model)';
const MAX_BODY_BYTES = 64 * 1024;
const MAX_IMAGE_BYTES = 64 * 1024 * 1024;
const MAX_PROMPT_LENGTH = 1000;
const IMAGE_PATH = '/generate/image';
const GENERATE: readonly string[] = ['/generate/text', IMAGE_PATH];
const RINGS_PER_TURN = 4;
const SLOW_MS = 5000;
const DEADLINE = { status: 504, error: 'deadline passed' };
// nginx's status for a disconnected client. Only the log shows it.
const DISCONNECTED = { status: 499, error: 'client disconnected' };

export interface StandInOptions {
  /** How long it responds with 503 after its creation, like a worker that loads its model, in milliseconds. 0 by default. */
  readonly readyAfterMs?: number;
  /** Receives one line for each generation request. Standard error by default. */
  readonly log?: (line: string) => void;
  /** A monotonic clock in milliseconds. `performance.now` by default. */
  readonly now?: () => number;
}

interface Reply {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer;
  readonly note: string;
}

const json = (status: number, value: object, note: string, headers: OutgoingHttpHeaders = {}): Reply => ({
  status,
  headers: { 'Content-Type': 'application/json', ...headers },
  body: Buffer.from(JSON.stringify(value)),
  note,
});

const refuse = (status: number, error: string, headers: OutgoingHttpHeaders = {}): Reply =>
  json(status, { error }, error, headers);

const stopped = (signal: AbortSignal, progress: string): Reply => {
  const { status, error } = signal.reason === 'deadline' ? DEADLINE : DISCONNECTED;
  return { ...refuse(status, error), note: `${error}, stopped ${progress}` };
};

/** Beyond the limit, the rest is read and discarded: if the socket closed, the sender might not receive the response. */
function readBody(
  req: IncomingMessage,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Buffer | 'too large' | 'stopped'> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    req.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) resolve('too large');
      else chunks.push(chunk);
    });
    req.once('end', () => resolve(Buffer.concat(chunks)));
    signal.addEventListener('abort', () => resolve('stopped'), { once: true });
  });
}

/** The job, or an error message. */
function parseJob(contentType = '', body: Buffer): { prompt: string; gridSize: number } | string {
  // A web page can send this type to another origin only after a CORS preflight, and this server refuses preflights.
  if (!/^application\/json\s*(;|$)/i.test(contentType)) return 'Content-Type must be application/json';
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    return 'body is not JSON';
  }
  if (typeof value !== 'object' || value === null) return 'body must be a JSON object';
  const prompt = 'prompt' in value ? value.prompt : undefined;
  const gridSize = 'grid_size' in value ? value.grid_size : undefined;
  if (typeof prompt !== 'string' || prompt.trim() === '' || prompt.length > MAX_PROMPT_LENGTH) {
    return `"prompt" must be a string of 1 to ${MAX_PROMPT_LENGTH} characters, not all blank`;
  }
  if (typeof gridSize !== 'number' || !Number.isInteger(gridSize) || gridSize < 8 || gridSize > 128) {
    return '"grid_size" must be an integer from 8 to 128';
  }
  return { prompt, gridSize };
}

/** The same for an image, whose bytes are the body. The shape is derived from their hash. */
function parseImageJob(
  contentType = '',
  gridSize: unknown,
  body: Buffer,
): { prompt: string; gridSize: number } | string {
  if (!/^image\/[a-z0-9.+-]+$/i.test(contentType)) return 'Content-Type must be an image type';
  const size = /^\d{1,3}$/.test(String(gridSize)) ? Number(gridSize) : 0;
  if (size < 8 || size > 128) return 'X-Grid-Size must be an integer from 8 to 128';
  if (body.length === 0) return 'the image is empty';
  return { prompt: `image ${createHash('sha256').update(body).digest('hex')}`, gridSize: size };
}

/** The mesh, or the number of rings done when the signal stopped it. */
async function computeMesh(prompt: string, gridSize: number, signal: AbortSignal): Promise<Mesh | number> {
  const rings = meshRings(prompt, gridSize);
  const pauseMs = prompt.includes('[slow]') ? SLOW_MS / (gridSize - 1) : 0;
  let step = rings.next();
  while (step.done !== true) {
    if (pauseMs > 0) await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    else if (step.value % RINGS_PER_TURN === 0) await nextTurn();
    if (signal.aborted) return step.value;
    step = rings.next();
  }
  return step.value;
}

async function generate(req: IncomingMessage, signal: AbortSignal, now: () => number): Promise<Reply> {
  const isImage = req.url?.startsWith(IMAGE_PATH) === true;
  const maxBytes = isImage ? MAX_IMAGE_BYTES : MAX_BODY_BYTES;
  const body = await readBody(req, maxBytes, signal);
  if (body === 'stopped') return stopped(signal, 'before the body was complete');
  if (body === 'too large') return refuse(413, `the body is larger than ${maxBytes} bytes`);
  const contentType = req.headers['content-type'];
  const job = isImage ? parseImageJob(contentType, req.headers['x-grid-size'], body) : parseJob(contentType, body);
  if (typeof job === 'string') return refuse(400, job);
  const startedAt = now();
  const mesh = await computeMesh(job.prompt, job.gridSize, signal);
  if (typeof mesh === 'number') return stopped(signal, `after ${mesh} of ${job.gridSize - 1} rings`);
  if (job.prompt.includes('[fail]')) return refuse(500, 'the prompt contains [fail]');
  const ply = encodePly(mesh);
  const seconds = ((now() - startedAt) / 1000).toFixed(6);
  const [vertices, faces] = [mesh.positions.length / 3, mesh.indices.length / 3];
  return {
    status: 200,
    headers: {
      'Content-Type': 'application/octet-stream',
      'X-GPU-Seconds': seconds,
      'X-Vertices': vertices,
      'X-Faces': faces,
    },
    body: ply,
    note: `${seconds} s on the CPU, ${vertices} vertices, ${faces} faces`,
  };
}

/** Stops when the caller's deadline passes or the caller disconnects, whichever comes first. */
async function generateInTime(req: IncomingMessage, res: ServerResponse, now: () => number): Promise<Reply> {
  const deadline = req.headers['x-deadline-ms'];
  // Ten digits may exceed the maximum of a timer, and a timer that overflows fires immediately.
  if (deadline !== undefined && !/^\d{1,9}$/.test(String(deadline))) {
    return refuse(400, 'X-Deadline-Ms must be a whole number of milliseconds, at most nine digits');
  }
  if (Number(deadline) === 0) return refuse(DEADLINE.status, DEADLINE.error);
  const stop = new AbortController();
  res.once('close', () => stop.abort('client'));
  req.once('error', () => stop.abort('client'));
  const timer = deadline === undefined ? undefined : setTimeout(() => stop.abort('deadline'), Number(deadline));
  try {
    return await generate(req, stop.signal, now);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Creates the stand-in's server, which does not listen yet. Listen only on a loopback address: it has no authentication.
 *
 * @throws RangeError if `readyAfterMs` is not a number of at least 0.
 */
export function createStandIn(options: StandInOptions = {}): Server {
  const { readyAfterMs = 0, log = console.error, now = () => performance.now() } = options;
  if (!(readyAfterMs >= 0)) {
    throw new RangeError(`point-e stand-in "readyAfterMs" must be a number of at least 0, got ${readyAfterMs}`);
  }
  const readyAt = now() + readyAfterMs;

  async function reply(req: IncomingMessage, res: ServerResponse, path: string): Promise<Reply> {
    const method = path === '/ready' ? 'GET' : GENERATE.includes(path) ? 'POST' : undefined;
    if (method === undefined) return refuse(404, 'unknown path');
    if (req.method !== method) return refuse(405, `use ${method}`, { Allow: method });
    const waitMs = readyAt - now();
    if (waitMs > 0) {
      const headers = { 'Retry-After': Math.ceil(waitMs / 1000) };
      return json(503, { ready: false, worker: WORKER, error: 'loading' }, 'loading', headers);
    }
    return method === 'GET' ? json(200, { ready: true, worker: WORKER }, 'ready') : generateInTime(req, res, now);
  }

  return createServer(async (req, res) => {
    const path = req.url?.split('?', 1)[0] ?? '';
    const requestId = req.headers['x-request-id'];
    // The log line contains the id, so an id that could forge a log line is replaced.
    const id = typeof requestId === 'string' && /^[\w.:-]{1,128}$/.test(requestId) ? requestId : randomUUID();
    const { status, headers, body, note } = await reply(req, res, path).catch((error: unknown) => ({
      ...refuse(500, 'internal error'),
      note: `internal error: ${String(error)}`,
    }));
    if (GENERATE.includes(path)) log(`point-e stand-in: ${id} ${status} ${note}`);
    if (!res.closed) res.writeHead(status, { ...headers, 'Content-Length': body.length, 'X-Request-Id': id }).end(body);
  });
}

function main(): void {
  const port = process.env.PORT ?? '8090';
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65535) {
    throw new RangeError(`point-e stand-in "PORT" must be an integer from 0 to 65535, got ${port}`);
  }
  // A parent that exits in any way closes the channel, possibly while this module is still loading.
  if (process.connected === false) process.exit(0);
  for (const event of ['SIGTERM', 'SIGINT', 'disconnect']) process.once(event, () => process.exit(0));
  const server = createStandIn();
  server.listen(Number(port), '127.0.0.1', () => {
    const address = server.address();
    const url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : port}`;
    console.log(`point-e stand-in listening on ${url}`);
    process.send?.({ url });
  });
}

const entry = process.argv[1];
if (entry !== undefined && existsSync(entry) && realpathSync(entry) === fileURLToPath(import.meta.url)) main();
