import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { MemoryCharge } from '../../../src/limit/memory/memory-admission.js';
import { memoryStore } from '../../../src/limit/memory/memory-store.js';
import { ManualClock } from '../../contracts/limit-store.js';
import { expectForgetting, fullWorld, START } from './forgetting-steps.js';

/** `npm run test:long` asks for more. */
const RUNS = Number(process.env.PROPERTY_RUNS ?? 1_000);

it(
  'a full memoryStore counts like plain lists, and forgets only what has used less than half of its limit',
  () => {
    let evicted = 0;
    let shared = 0;
    fc.assert(
      fc.property(fullWorld, (world) => {
        const clock = new ManualClock(START);
        const store = memoryStore({ maxEntries: world.maxEntries, now: clock.now });
        const chargeOf = (receipt: unknown) => receipt as MemoryCharge;
        const forgetting = expectForgetting(world, { store, chargeOf }, clock);
        evicted += forgetting.evicted;
        shared += forgetting.shared;
      }),
      { numRuns: RUNS },
    );
    expect(evicted).toBeGreaterThan(RUNS / 4);
    expect(shared).toBeGreaterThan(RUNS / 4);
  },
  Math.max(60_000, RUNS * 100),
);
