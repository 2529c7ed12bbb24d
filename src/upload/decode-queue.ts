import { aborted } from './upload-error.js';

/** Limits how many images are decoded at the same time. The others wait in order of arrival. */
export class DecodeQueue {
  #free: number;
  /** A set keeps the order of insertion, and a client that disconnects is removed without a search. */
  readonly #waiting = new Set<() => void>();

  constructor(concurrency: number) {
    this.#free = concurrency;
  }

  /** Waits for a free slot. Call `release` when done. @throws UploadError if `signal` aborts first */
  async acquire(signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted === true) throw aborted(signal.reason);
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const start = () => {
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        this.#waiting.delete(start);
        reject(aborted(signal?.reason));
      };
      this.#waiting.add(start);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }

  release(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#free++;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
