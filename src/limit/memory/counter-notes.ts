import type { Counters } from './counters.js';
import type { MemoryHold } from './holds.js';
import type { MemoryCharge } from './memory-admission.js';

/** What a store says of its counters after it has changed them, except what it admits. */
export interface CounterNotes {
  /** A charge was corrected to `units`, or a hold has ended that has used them. */
  settled(charge: MemoryCharge, units: number): void;
  renewed(charge: MemoryCharge, hold: MemoryHold): void;
  released(charge: MemoryCharge, hold: MemoryHold): void;
  /** What was charged in a counter was forgotten. */
  cleared(counters: Counters, slot: number): void;
  /** All changes of a call were named. */
  commit(): void;
}
