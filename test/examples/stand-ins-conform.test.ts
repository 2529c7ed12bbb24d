import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { createStandIn } from '../../examples/workers/point-e-stand-in.js';
import { createSamStandIn } from '../../examples/workers/sam-stand-in.js';
import { checkWorker } from '../../src/worker/index.js';
import { listening } from '../worker/scene.js';

const image = readFileSync(new URL('../../examples/sam-service/image.jpg', import.meta.url));
/** As slow as a GPU, so that their jobs can be stopped. */
const SLOW = { slots: 2, seconds: 2, log: () => undefined };
const PROMPT = { path: '/generate/text', body: '{"prompt":"a car","grid_size":8}' };

describe('a stand-in follows the worker contract', () => {
  it.concurrent.each([
    ['Point-E', () => createStandIn(SLOW), PROMPT],
    ['SAM', () => createSamStandIn(SLOW), { path: '/segment', body: image, contentType: 'image/jpeg' }],
  ] as const)(
    '%s',
    async (_name, create, job) => {
      const url = await listening(create());
      const { results } = await checkWorker({ url, stopWithin: '800ms', ...job });
      expect(results.filter(({ kind }) => kind !== 'held')).toEqual([]);
      expect(results).toHaveLength(22);
    },
    60_000,
  );
});
