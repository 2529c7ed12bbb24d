import { LRUCache } from 'lru-cache';

export interface ClientUsage {
  readonly requests: number;
  /** Seconds. */
  readonly gpu_time: number;
}

/** What each client has used, by its id: never by its key. Whoever has no id is `anonymous`. */
export interface Usage {
  request(id: string | undefined): void;
  workerTook(id: string | undefined, milliseconds: number): void;
  all(): Readonly<Record<string, ClientUsage>>;
  /** Those with the most requests, in order. */
  top(count: number): readonly (ClientUsage & { readonly id: string })[];
}

const ANONYMOUS = 'anonymous';

/** Of the `maxClients` who came last, since the start. */
export function clientUsage({ maxClients = 10_000 }: { readonly maxClients?: number } = {}): Usage {
  const clients = new LRUCache<string, { requests: number; milliseconds: number }>({ max: maxClients });

  function of(id = ANONYMOUS) {
    const used = clients.get(id) ?? { requests: 0, milliseconds: 0 };
    clients.set(id, used);
    return used;
  }
  const told = () =>
    [...clients.entries()].map(([id, { requests, milliseconds }]) => ({
      id,
      requests,
      gpu_time: Math.round(milliseconds) / 1000,
    }));

  return {
    request(id) {
      of(id).requests++;
    },
    workerTook(id, milliseconds) {
      of(id).milliseconds += milliseconds;
    },
    all() {
      // `fromEntries` defines members and does not assign them: `__proto__` is a name like any other.
      return Object.fromEntries(told().map(({ id, ...used }) => [id, used]));
    },
    top(count) {
      return told()
        .sort((a, b) => b.requests - a.requests)
        .slice(0, count);
    },
  };
}
