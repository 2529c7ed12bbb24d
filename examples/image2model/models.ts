import { readFile } from 'node:fs/promises';
import type { Guard, Reply } from 'gatewarden';
import type { RunningJob } from 'gatewarden/jobs';
import { JobError, type JobFailure, type Worker } from 'gatewarden/worker';
import type { StoredImage } from './images.js';

const GLB = 'model/gltf-binary';

/** What became of one image. */
export interface ModelResult {
  /** The name that the client gave the image. */
  readonly filename: string;
  readonly status: 'completed' | 'failed';
  /** The name of the file, if there is one. */
  readonly model?: string;
  readonly faces?: number;
  readonly error?: string;
}

/** The result of a job. */
export interface BatchResult {
  readonly total_files: number;
  readonly successful_files: number;
  readonly failed_files: number;
  readonly face_limit: number | null;
  readonly files: readonly ModelResult[];
}

/** The images of one upload. It is kept as JSON, so that another process can run the job. */
export interface Batch {
  /** Names the directory of the images. */
  readonly id: string;
  readonly images: readonly StoredImage[];
  /** The name of the model of each image. */
  readonly models: readonly string[];
  readonly faceLimit?: number | undefined;
}

/**
 * Makes a model of each image, one after the other. Each gets a slot of the worker and its GPU time by itself: `turn` has done
 * so for the first one, and between two of them other clients have their turns. If there is no model at the end, the last
 * failure is the job's.
 */
export async function makeModels(
  job: RunningJob,
  { images, models, faceLimit }: Batch,
  gpu: Worker,
  turn: Guard,
): Promise<BatchResult | Reply> {
  const files: ModelResult[] = [];
  let failure: Reply | undefined;
  for (const [i, image] of images.entries()) {
    job.progress(i / images.length, `model ${i + 1} of ${images.length}`);
    const refusal = i === 0 ? undefined : await turn(job.exchange);
    const made = refusal ?? (await makeModel(job, image, models[i] ?? '', faceLimit, gpu));
    if ('faces' in made) {
      files.push({ filename: image.filename, status: 'completed', model: models[i] ?? '', faces: made.faces });
      continue;
    }
    failure = made;
    files.push({ filename: image.filename, status: 'failed', error: made.problem?.detail ?? 'It failed.' });
    if (job.signal.aborted) break;
  }
  const successful = files.filter(({ status }) => status === 'completed').length;
  if (successful === 0 && failure !== undefined) return failure;
  job.progress(1, 'done');
  return {
    total_files: images.length,
    successful_files: successful,
    failed_files: images.length - successful,
    face_limit: faceLimit ?? null,
    files,
  };
}

async function makeModel(
  job: RunningJob,
  { path, type }: StoredImage,
  name: string,
  faceLimit: number | undefined,
  gpu: Worker,
): Promise<{ readonly faces: number } | Reply> {
  const result = await gpu.run(job.exchange, {
    path: '/image-to-model',
    headers: { 'Content-Type': type, ...(faceLimit === undefined ? {} : { 'X-Face-Limit': String(faceLimit) }) },
    body: await readFile(path),
  });
  if (result.kind !== 'done') return replyTo(result);
  try {
    await job.file(name, GLB, result.response.body ?? '');
  } catch (error) {
    if (error instanceof JobError) return replyTo(error.failure);
    throw error;
  }
  return { faces: Number(result.response.headers.get('X-Faces')) };
}

/** What the owner is told. An image that the worker cannot use is no fault of the service. */
function replyTo({ status, reply }: JobFailure): Reply {
  if (status !== 422 || reply.problem === undefined) return reply;
  const problem = { ...reply.problem, detail: 'No object was found in this image.' };
  return { ...reply, problem };
}
