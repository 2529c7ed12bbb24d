import { placeOf, SEGMENT, Segments } from './segments.js';

/** A stack of slots. */
export class SlotStack {
  size = 0;
  readonly #segments = new Segments(() => new Int32Array(SEGMENT));

  push(slot: number): void {
    this.#segments.of(this.size)[placeOf(this.size)] = slot;
    this.size++;
  }

  /** Only while it is not empty. */
  pop(): number {
    this.size--;
    return this.#segments.of(this.size)[placeOf(this.size)] as number;
  }
}
