/**
 * A STAND-IN for a SAM worker on a GPU: `POST /segment` accepts an image as its body and responds with masks of its bright
 * regions, found on the CPU and without a model. It follows README.md, binds to loopback and has no authentication.
 */
import type { Server } from 'node:http';
import { z } from 'zod';
import { segment } from './segmentation.js';
import { startIfMain } from './worker-process.js';
import { createWorkerServer, type WorkerOptions } from './worker-server.js';

const NAME = 'sam stand-in';
const MAX_BYTES = 512 * 1024 * 1024;

const Query = z.object({
  normalize: z.stringbool().default(false),
  blur: z.coerce.number().min(0.3).max(10).optional(),
});

/** Creates the stand-in's server, which does not listen yet: see `createWorkerServer`. */
export function createSamStandIn(options: WorkerOptions = {}): Server {
  return createWorkerServer(
    {
      name: NAME,
      description: `${NAME} (CPU, no model)`,
      jobs: {
        '/segment': {
          maxBytes: MAX_BYTES,
          read({ url = '' }, body) {
            const query = Query.safeParse(Object.fromEntries(new URL(url, 'http://worker').searchParams));
            if (!query.success) return { status: 400, error: 'bad preprocessing' };
            return async () => {
              const found = await segment(body, query.data).catch((error: unknown) => {
                console.error('sam stand-in:', error);
                return undefined;
              });
              if (found === undefined) return { unreadable: 'the image cannot be segmented' };
              return {
                headers: { 'Content-Type': 'application/json' },
                body: Buffer.from(JSON.stringify(found)),
                note: `${found.masks.length} masks`,
              };
            };
          },
        },
      },
    },
    options,
  );
}

startIfMain(import.meta.url, NAME, 8090, createSamStandIn);
