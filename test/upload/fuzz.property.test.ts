import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { upload } from '../../src/upload/index.js';
import { testExchange } from '../exchange-fixture.js';
import { BOUNDARY, FILE_BYTES, MAX_PIXELS, uploadAttacks } from './attacks.js';
import { mutated } from './mutations.js';

const RUNS = Number(process.env.PROPERTY_RUNS ?? 20_000);

let folder: string;
let bodies: readonly Buffer[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatewarden-fuzz-'));
  // Small ones: what is looked for is not how much is read.
  bodies = (await uploadAttacks()).map(({ body }) => body).filter(({ length }) => length < 20_000);
});
afterAll(() => rm(folder, { recursive: true }));

it('takes or refuses whatever comes, without a fault, an endless wait or a file left behind', async () => {
  const guard = upload({
    files: {
      types: ['image/png', 'image/jpeg', 'image/gif', 'image/webp'],
      maxBytes: FILE_BYTES,
      maxPixels: MAX_PIXELS,
      animated: true,
    },
    fields: { maxCount: 3, maxBytes: 1000 },
    spool: { memoryBytes: 50, directory: folder },
  });
  const statuses = new Map<number, number>();
  await fc.assert(
    fc.asyncProperty(mutated(bodies), fc.integer({ min: 1, max: 5000 }), async (body, piece) => {
      const chunks: Buffer[] = [];
      for (let at = 0; at < body.length; at += piece) chunks.push(body.subarray(at, at + piece));
      const { exchange, faults } = testExchange({
        method: 'POST',
        headers: [['Content-Type', `multipart/form-data; boundary=${BOUNDARY}`]],
        openBody: () => Readable.from(chunks),
      });
      const reply = await guard(exchange);
      const status = reply?.status ?? 200;
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      expect([200, 400, 413, 415, 422]).toContain(status);
      expect(faults).toEqual([]);
      for (const file of exchange.upload?.files ?? []) expect((await file.buffer()).length).toBe(file.bytes);
      exchange.end({ kind: 'completed', status: 200 });
    }),
    { numRuns: RUNS },
  );
  await expect.poll(() => readdir(folder)).toEqual([]);
  console.log(
    `fuzzed uploads: ${[...statuses]
      .sort()
      .map(([status, count]) => `${count} x ${status}`)
      .join(', ')}`,
  );
  expect([...statuses.keys()].sort()).toEqual([200, 400, 413, 415, 422]);
}, 600_000);
