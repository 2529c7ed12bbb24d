import type { Caller } from './caller.js';
import { aborted } from './upload-error.js';

type Client = Caller['client'];

/**
 * Limits how many images are decoded at the same time. The others wait. Clients take turns: first those for which no
 * image is being decoded, and among these the one that had its last turn longest ago. So a client that sends many slow
 * images delays its own, and another client waits for at most one of them.
 */
export class DecodeQueue {
  #free: number;
  /** In the order of their turns. A set keeps the order of arrival, and a client that disconnects leaves without a search. */
  readonly #waiting = new Map<Client, Set<() => void>>();
  readonly #running = new Map<Client, number>();

  constructor(concurrency: number) {
    this.#free = concurrency;
  }

  /** Waits for a free slot. Call `release` when done. @throws UploadError if `signal` aborts first */
  async acquire({ signal, client }: Caller): Promise<void> {
    if (signal?.aborted === true) throw aborted(signal.reason);
    if (this.#free > 0) {
      this.#free--;
      this.#count(client, 1);
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const waiting = this.#waiting.get(client) ?? new Set();
      this.#waiting.set(client, waiting);
      const start = () => {
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        waiting.delete(start);
        if (waiting.size === 0 && this.#waiting.get(client) === waiting) this.#waiting.delete(client);
        reject(aborted(signal?.reason));
      };
      waiting.add(start);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }

  release({ client }: Caller): void {
    this.#count(client, -1);
    this.#moveToEnd(client);
    const next = this.#nextClient();
    if (next === undefined) {
      this.#free++;
      return;
    }
    const [nextClient, waiting] = next;
    for (const start of waiting) {
      waiting.delete(start);
      if (waiting.size === 0) this.#waiting.delete(nextClient);
      this.#count(nextClient, 1);
      start();
      return;
    }
  }

  /** It has just had its turn. */
  #moveToEnd(client: Client): void {
    const waiting = this.#waiting.get(client);
    if (waiting === undefined) return;
    this.#waiting.delete(client);
    this.#waiting.set(client, waiting);
  }

  #nextClient(): readonly [Client, Set<() => void>] | undefined {
    let fewest = Number.POSITIVE_INFINITY;
    let next: readonly [Client, Set<() => void>] | undefined;
    for (const entry of this.#waiting) {
      const running = this.#running.get(entry[0]) ?? 0;
      if (running === 0) return entry;
      if (running < fewest) [fewest, next] = [running, entry];
    }
    return next;
  }

  #count(client: Client, change: 1 | -1): void {
    const running = (this.#running.get(client) ?? 0) + change;
    if (running === 0) this.#running.delete(client);
    else this.#running.set(client, running);
  }
}
