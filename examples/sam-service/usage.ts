import { LRUCache } from 'lru-cache';

export interface ClientUsage {
  readonly requests: number;
  /** Seconds. */
  readonly gpu_time: number;
}

/** What each client has used, by its id, never by its key. Clients without an id share the id `anonymous`. */
export interface Usage {
  request(id: string | undefined): void;
  workerTook(id: string | undefined, milliseconds: number): void;
  all(): Readonly<Record<string, ClientUsage>>;
  /** The clients with the most requests, in descending order. */
  top(count: number): readonly (ClientUsage & { readonly id: string })[];
}

const ANONYMOUS = 'anonymous';

/** Counts usage since the start, for the `maxClients` most recent clients. */
export function clientUsage({ maxClients = 10_000 }: { readonly maxClients?: number } = {}): Usage {
  const clients = new LRUCache<string, { requests: number; milliseconds: number }>({ max: maxClients });

  function usageOf(id = ANONYMOUS) {
    const usage = clients.get(id) ?? { requests: 0, milliseconds: 0 };
    clients.set(id, usage);
    return usage;
  }
  const entries = () =>
    [...clients.entries()].map(([id, { requests, milliseconds }]) => ({
      id,
      requests,
      gpu_time: Math.round(milliseconds) / 1000,
    }));

  return {
    request(id) {
      usageOf(id).requests++;
    },
    workerTook(id, milliseconds) {
      usageOf(id).milliseconds += milliseconds;
    },
    all() {
      // `fromEntries` defines members instead of assigning them, so a client may be named `__proto__`.
      return Object.fromEntries(entries().map(({ id, ...usage }) => [id, usage]));
    },
    top(count) {
      return entries()
        .sort((a, b) => b.requests - a.requests)
        .slice(0, count);
    },
  };
}
