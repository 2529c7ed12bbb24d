import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { upload } from '../../src/upload/index.js';
import { exchangeWith, split } from './fixture.js';
import { mutated } from './mutations.js';
import { bodiesToMutate, optionsForMutated } from './upload-cases.js';

const RUNS = Number(process.env.PROPERTY_RUNS ?? 20_000);
/** How many bodies are received at the same time. */
const BATCH = 16;

let directory: string;
let bodies: readonly Buffer[];
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'gatewarden-mutated-'));
  bodies = await bodiesToMutate();
});
afterAll(() => rm(directory, { recursive: true }));

it('accepts or refuses every mutated body, without a fault, a hang or a leftover file', async () => {
  const guard = upload(optionsForMutated(directory));
  const counts = new Map([200, 400, 413, 415, 422].map((status) => [status, 0]));
  async function send(body: Buffer, chunkBytes: number): Promise<void> {
    const { exchange, faults } = exchangeWith(split(body, chunkBytes));
    const reply = await guard(exchange);
    const status = reply?.status ?? 200;
    const count = counts.get(status);
    if (faults.length > 0) throw faults[0];
    if (count === undefined) throw new Error(`unexpected status ${status}`);
    counts.set(status, count + 1);
    for (const file of exchange.upload?.files ?? []) expect((await file.buffer()).length).toBe(file.bytes);
    exchange.end({ kind: 'completed', status: 200 });
  }
  const sent = fc.tuple(mutated(bodies), fc.integer({ min: 1, max: 5000 }));
  await fc.assert(
    fc.asyncProperty(fc.array(sent, { minLength: BATCH, maxLength: BATCH }), async (batch) => {
      await Promise.all(batch.map(([body, chunkBytes]) => send(body, chunkBytes)));
    }),
    { numRuns: Math.ceil(RUNS / BATCH) },
  );
  await expect.poll(() => readdir(directory)).toEqual([]);
  console.log(`mutated uploads: ${[...counts].map(([status, count]) => `${count} x ${status}`).join(', ')}`);
  expect([...counts].filter(([, count]) => count === 0)).toEqual([]);
}, 600_000);
