import { randomUUID } from 'node:crypto';

/** What the worker turns into a mesh: a prompt or an image. */
export type Job =
  | { readonly prompt: string; readonly grid_size: number }
  | { readonly image: Buffer; readonly type: string; readonly grid_size: number };

export interface Generated {
  readonly kind: 'generated';
  readonly ply: ReadableStream<Uint8Array>;
  readonly vertices: number;
  readonly faces: number;
}

/** The worker failed. `status` is the status for the gateway's client. */
export interface Failed {
  readonly kind: 'failed';
  readonly status: 502 | 503 | 504;
  readonly message: string;
  readonly retryAfter: string | undefined;
}

export const failed = (status: Failed['status'], message: string, retryAfter?: string): Failed => ({
  kind: 'failed',
  status,
  message,
  retryAfter,
});

/**
 * Requests a mesh from the worker, to be done within `deadlineMs`. The contract is in ../workers/README.md. Rejects if
 * `signal` is aborted.
 */
export async function generateMesh(
  workerUrl: string,
  job: Job,
  deadlineMs: number,
  signal: AbortSignal,
): Promise<Generated | Failed> {
  const { path, headers, body } = requestFor(job);
  let response: Response;
  try {
    response = await fetch(`${workerUrl}${path}`, {
      method: 'POST',
      headers: { ...headers, 'X-Request-Id': randomUUID(), 'X-Deadline-Ms': String(deadlineMs) },
      body,
      signal,
      redirect: 'error',
    });
  } catch (error) {
    signal.throwIfAborted();
    console.error('point-e: cannot reach the worker:', error);
    return failed(503, 'The 3D models are not available. Try again later.', '5');
  }
  if (response.ok && response.body !== null) {
    const count = (header: string) => Number(response.headers.get(header));
    return { kind: 'generated', ply: response.body, vertices: count('X-Vertices'), faces: count('X-Faces') };
  }
  await response.body?.cancel();
  switch (response.status) {
    case 503:
      return failed(
        503,
        'The 3D models are still loading. Try again later.',
        response.headers.get('Retry-After') ?? '5',
      );
    case 504:
      return failed(504, 'The generation took too long.');
    default:
      console.error(`point-e: the worker responded with status ${response.status}`);
      return failed(502, 'The generation failed.');
  }
}

function requestFor(job: Job) {
  if ('prompt' in job) {
    return { path: '/generate/text', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(job) };
  }
  const headers = { 'Content-Type': job.type, 'X-Grid-Size': String(job.grid_size) };
  return { path: '/generate/image', headers, body: new Uint8Array(job.image) };
}

/** Returns whether the worker can accept a job now. It asks the worker at most once a second, for all clients. */
export function readinessOf(workerUrl: string, now: () => number = Date.now): () => Promise<boolean> {
  let checkedAt = Number.NEGATIVE_INFINITY;
  let ready = Promise.resolve(false);
  return () => {
    if (now() - checkedAt >= 1000) {
      checkedAt = now();
      ready = fetch(`${workerUrl}/ready`, { signal: AbortSignal.timeout(2000), redirect: 'error' }).then(
        async (response) => {
          await response.body?.cancel();
          return response.ok;
        },
        () => false,
      );
    }
    return ready;
  };
}
