/**
 * A STAND-IN for a worker that makes 3D models of photos on a GPU: `POST /image-to-model` accepts an image as its body and
 * responds with a relief of it as a GLB, made on the CPU and without a model. It follows README.md, binds to loopback and
 * has no authentication.
 */
import type { Server } from 'node:http';
import { encodeGlb } from './glb.js';
import { reliefOf } from './relief.js';
import { startIfMain } from './worker-process.js';
import { createWorkerServer, type JobKind, type WorkerOptions } from './worker-server.js';

const NAME = 'image2model stand-in';
const MAX_BYTES = 64 * 1024 * 1024;
const DEFAULT_FACES = 20_000;
const MAX_FACES = 1_000_000;

/** The most faces of the mesh, or an error message. */
function faceLimitOf(header: unknown): number | string {
  if (header === undefined) return DEFAULT_FACES;
  const faces = /^\d{1,7}$/.test(String(header)) ? Number(header) : 0;
  return faces >= 2 && faces <= MAX_FACES ? faces : `X-Face-Limit must be an integer from 2 to ${MAX_FACES}`;
}

function read({ headers }: Parameters<JobKind['read']>[0], body: Buffer): ReturnType<JobKind['read']> {
  if (!/^image\/[a-z0-9.+-]+$/i.test(headers['content-type'] ?? '')) {
    return { status: 400, error: 'Content-Type must be an image type' };
  }
  const maxFaces = faceLimitOf(headers['x-face-limit']);
  if (typeof maxFaces === 'string') return { status: 400, error: maxFaces };
  return async (signal) => {
    const mesh = await reliefOf(body, maxFaces).catch((error: unknown) => {
      console.error(`${NAME}:`, error);
      return 'unreadable' as const;
    });
    if (signal.aborted) return { stoppedAfter: 'before the mesh was written' };
    if (mesh === 'unreadable') return { unreadable: 'the image cannot be read' };
    if (mesh === undefined) return { unreadable: 'the image shows no object' };
    const [vertices, faces] = [mesh.positions.length / 3, mesh.indices.length / 3];
    return {
      headers: { 'Content-Type': 'model/gltf-binary', 'X-Vertices': vertices, 'X-Faces': faces },
      body: encodeGlb(mesh),
      note: `${vertices} vertices, ${faces} faces`,
    };
  };
}

/** Creates the stand-in's server, which does not listen yet: see `createWorkerServer`. */
export function createImage2ModelStandIn(options: WorkerOptions = {}): Server {
  return createWorkerServer(
    {
      name: NAME,
      description: `${NAME} (CPU, no model)`,
      jobs: { '/image-to-model': { maxBytes: MAX_BYTES, read } },
    },
    options,
  );
}

startIfMain(import.meta.url, NAME, 8090, createImage2ModelStandIn);
