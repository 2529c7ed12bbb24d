import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { upload } from '../../src/upload/index.js';
import { testExchange } from '../exchange-fixture.js';
import { BOUNDARY, FILE_BYTES, MAX_PIXELS, type UploadAttack, uploadAttacks } from './attacks.js';

const RUNS = Number(process.env.PROPERTY_RUNS ?? 20_000);

let folder: string;
let bodies: readonly UploadAttack[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatewarden-fuzz-'));
  // Small ones: what is looked for is not how much is read.
  bodies = (await uploadAttacks()).filter(({ body }) => body.length < 20_000);
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
    store: { memoryBytes: 50, folder },
  });
  const statuses = new Map<number, number>();
  await fc.assert(
    fc.asyncProperty(
      fc.nat(bodies.length - 1),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 12 }),
      fc.option(fc.tuple(fc.nat(), fc.nat(), fc.nat(200)), { nil: undefined }),
      fc.integer({ min: 1, max: 5000 }),
      async (which, changes, moved, piece) => {
        let body = Buffer.from(bodies[which]?.body ?? Buffer.alloc(0));
        for (const [at, value] of changes) if (body.length > 0) body[at % body.length] = value;
        if (moved !== undefined && body.length > 0) {
          // A slice comes again elsewhere, or the end is lost.
          const [from, to, length] = moved;
          const slice = body.subarray(from % body.length, (from % body.length) + length);
          body = Buffer.concat([
            body.subarray(0, to % body.length),
            slice,
            ...(length % 3 === 0 ? [] : [body.subarray(to % body.length)]),
          ]);
        }
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
        exchange.settle({ kind: 'completed', status: 200 });
      },
    ),
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
