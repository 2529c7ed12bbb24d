/**
 * A STAND-IN for a GPU worker: it implements the contract of examples/workers/README.md, but has no model and uses no GPU.
 * It derives a shape from a hash of the prompt, so that the gateway in front of it can be tried on any machine.
 *
 * Two markers in a prompt: `[fail]` responds with 500, to show that a failed generation is refunded, and `[slow]` takes
 * about 5 s, to try client disconnects and deadlines.
 */
import { createHash } from 'node:crypto';
import type { Server } from 'node:http';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { type Mesh, meshRings } from './mesh.js';
import { encodePly } from './ply.js';
import { startIfMain } from './worker-process.js';
import { createWorkerServer, type JobKind, type WorkerOptions } from './worker-server.js';

const NAME = 'point-e stand-in';
const MAX_BODY_BYTES = 64 * 1024;
const MAX_IMAGE_BYTES = 64 * 1024 * 1024;
const MAX_PROMPT_LENGTH = 1000;
const RINGS_PER_TURN = 4;
const SLOW_MS = 5000;

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

/** The computation of a job, or the error of one that cannot be computed. */
function computationOf(job: { prompt: string; gridSize: number } | string): ReturnType<JobKind['read']> {
  if (typeof job === 'string') return { status: 400, error: job };
  const { prompt, gridSize } = job;
  return async (signal) => {
    const startedAt = performance.now();
    const mesh = await computeMesh(prompt, gridSize, signal);
    if (typeof mesh === 'number') return { stoppedAfter: `after ${mesh} of ${gridSize - 1} rings` };
    if (prompt.includes('[fail]')) return { failed: 'the prompt contains [fail]' };
    const body = encodePly(mesh);
    const [vertices, faces] = [mesh.positions.length / 3, mesh.indices.length / 3];
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(3);
    return {
      headers: { 'Content-Type': 'application/octet-stream', 'X-Vertices': vertices, 'X-Faces': faces },
      body,
      note: `${seconds} s on the CPU, ${vertices} vertices, ${faces} faces`,
    };
  };
}

/** Creates the stand-in's server, which does not listen yet: see `createWorkerServer`. */
export function createStandIn(options: WorkerOptions = {}): Server {
  return createWorkerServer(
    {
      name: NAME,
      description: `${NAME} (CPU, no model)`,
      jobs: {
        '/generate/text': {
          maxBytes: MAX_BODY_BYTES,
          read: ({ headers }, body) => computationOf(parseJob(headers['content-type'], body)),
        },
        '/generate/image': {
          maxBytes: MAX_IMAGE_BYTES,
          read: ({ headers }, body) =>
            computationOf(parseImageJob(headers['content-type'], headers['x-grid-size'], body)),
        },
      },
    },
    options,
  );
}

startIfMain(import.meta.url, NAME, 8090, createStandIn);
