import type { CounterTable } from '../counter-table.js';
import type { Counters } from '../counters.js';
import { addForgotten } from './change-records.js';
import { addCounter } from './counter-records.js';
import type { JournalWriter } from './journal-writer.js';
import type { KnownCounters } from './known-counters.js';

/** A part of a copy ends after so many bytes, or so many milliseconds. */
const MOST_BYTES = 32_768;
const MOST_TIME = 0.4;
/** Slots between two looks at the time. */
const LOOK_EVERY = 16;

interface Part {
  readonly counters: Counters;
  readonly keys: CounterTable | undefined;
  /** Slots of shared counters, which have no keys. */
  readonly count: number;
}

/**
 * Writes all counters of a store to a new file, a few at a time. Charges go on in between: a record about a counter that
 * follows its copy is applied to it, and one that precedes it is in the copy.
 */
export class CounterCopy {
  readonly #writer: JournalWriter;
  readonly #isDeclared: (known: KnownCounters) => boolean;
  readonly #parts: Part[] = [];
  #part = 0;
  #slot = 0;

  constructor(writer: JournalWriter, tables: Iterable<CounterTable>, isDeclared: (known: KnownCounters) => boolean) {
    this.#writer = writer;
    this.#isDeclared = isDeclared;
    for (const table of tables) {
      this.#parts.push({ counters: table.counters, keys: table, count: 0 });
      if (table.shared !== undefined) {
        const { counters, count } = table.shared;
        this.#parts.push({ counters, keys: undefined, count });
      }
    }
  }

  /** Writes some more. Returns whether all was written. */
  next(): boolean {
    const { buffer } = this.#writer;
    // While the disk cannot be written, nothing is added to what waits.
    if (this.#writer.failure() !== undefined || !this.#writer.flush()) return false;
    const until = performance.now() + MOST_TIME;
    for (let part = this.#parts[this.#part]; part !== undefined; part = this.#parts[this.#part]) {
      const { counters, keys } = part;
      const { known } = counters;
      const slots = keys?.started ?? part.count;
      const isDeclared = known !== undefined && this.#isDeclared(known);
      if (!isDeclared || this.#slot >= slots) {
        // At the end, when it is known which counters are not in the file.
        const forgotten = counters.holds?.forgotten ?? 0;
        if (isDeclared && forgotten > 0) addForgotten(buffer, known.id, forgotten);
        this.#part++;
        this.#slot = 0;
        continue;
      }
      const end = Math.min(slots, this.#slot + LOOK_EVERY);
      for (; this.#slot < end && buffer.length < MOST_BYTES; this.#slot++) this.#add(part, known, this.#slot);
      if (buffer.length >= MOST_BYTES || performance.now() >= until) break;
    }
    return this.#writer.flush() && this.#part === this.#parts.length;
  }

  #add({ counters, keys }: Part, known: KnownCounters, slot: number): void {
    if (!counters.isTaken(slot)) return;
    if (!counters.isLive(slot)) {
      // It may be charged again before it is forgotten. The file has no key for it.
      known.forget(slot);
      // Nor its last token, above which the next one of any key has to be.
      counters.holds?.restoreForgotten(counters.holds.lastToken(slot));
      return;
    }
    addCounter(this.#writer.buffer, known.id, counters, slot, keys?.keyOf(slot) ?? '');
    known.add(slot, counters.generation(slot));
  }
}
