/** A key and its end, in epoch milliseconds. */
export interface Expiry {
  readonly key: string;
  readonly until: number;
}

/** Keys in the order of their ends: a binary heap, so that adding one and taking the first cost a few steps. */
export class ExpiryQueue {
  readonly #heap: Expiry[] = [];

  /** The key that ends first. */
  get first(): Expiry | undefined {
    return this.#heap[0];
  }

  add(expiry: Expiry): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(expiry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || above.until <= expiry.until) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = expiry;
  }

  /** Takes the first away. */
  shift(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      let below = heap[child];
      if (below === undefined) break;
      const right = heap[child + 1];
      if (right !== undefined && right.until < below.until) {
        child++;
        below = right;
      }
      if (last.until <= below.until) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
  }
}
