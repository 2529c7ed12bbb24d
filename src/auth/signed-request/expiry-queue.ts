/** A key and the time at which it expires, in epoch milliseconds. */
export interface Expiry {
  readonly key: string;
  readonly until: number;
}

/** Keys ordered by expiry: a binary heap, so that adding a key and removing the first take logarithmic time. */
export class ExpiryQueue {
  readonly #heap: Expiry[] = [];

  /** The key that expires first. */
  get first(): Expiry | undefined {
    return this.#heap[0];
  }

  add(expiry: Expiry): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(expiry);
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = heap[parentIndex];
      if (parent === undefined || parent.until <= expiry.until) break;
      heap[index] = parent;
      index = parentIndex;
    }
    heap[index] = expiry;
  }

  /** Removes the first key. */
  shift(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      let childIndex = 2 * index + 1;
      let child = heap[childIndex];
      if (child === undefined) break;
      const right = heap[childIndex + 1];
      if (right !== undefined && right.until < child.until) {
        childIndex++;
        child = right;
      }
      if (last.until <= child.until) break;
      heap[index] = child;
      index = childIndex;
    }
    heap[index] = last;
  }
}
