import { MemoryQueue, type QueueHost } from './memory-queue.js';
import type { QueueSettings, WaitingQueue } from './waiting-queue.js';

/** Queues of one policy that are kept while they are empty, since they know how long jobs take. */
const MAX_IDLE = 1000;

/** The queues of one store, by policy and partition key. Guards that queue for the same slots share a queue. */
export class MemoryQueues {
  readonly #host: QueueHost;
  /** By policy id, then by key. */
  readonly #queues = new Map<string, Map<string, MemoryQueue>>();

  constructor(host: QueueHost) {
    this.#host = host;
  }

  /** Queues that are kept. */
  get size(): number {
    let size = 0;
    for (const queues of this.#queues.values()) size += queues.size;
    return size;
  }

  open(settings: QueueSettings): WaitingQueue {
    const { id } = settings.policy;
    const queues = this.#queues.get(id) ?? new Map<string, MemoryQueue>();
    this.#queues.set(id, queues);
    return {
      join: (request) => {
        const { key } = request;
        let queue = queues.get(key);
        if (queue === undefined) {
          queue = new MemoryQueue(this.#host, settings, key, () => {
            if (queues.size > MAX_IDLE) queues.delete(key);
          });
          queues.set(key, queue);
        }
        return queue.join(settings, request);
      },
    };
  }
}

/** A clock that never steps back: what it would have stepped back by, it adds from then on. */
export function steady(read: () => number): () => number {
  let last = Number.NEGATIVE_INFINITY;
  let offset = 0;
  return () => {
    const time = read();
    if (time + offset < last) offset = last - time;
    last = time + offset;
    return last;
  };
}
