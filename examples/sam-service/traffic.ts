import type { Guard } from 'gatewarden';

export interface Traffic {
  begin(): void;
  /** `status` is undefined if the client disconnected before the response was complete. */
  end(status: number | undefined): void;
  now(): {
    readonly active: number;
    /** Requests a second, over the last minute. */
    readonly requestRate: number;
    /** The fraction of the last minute's responses with status 500 or above, from 0 to 1. */
    readonly errorRate: number;
  };
}

const SECONDS = 60;

/** Counts requests in progress and those of the last minute, in one bucket per second. `clock` is monotonic, in milliseconds. */
export function recentTraffic(clock: () => number): Traffic {
  const buckets = Array.from({ length: SECONDS }, () => emptyBucket(Number.NEGATIVE_INFINITY));
  let active = 0;
  const thisSecond = () => Math.floor(clock() / 1000);

  function bucket() {
    const second = thisSecond();
    const current = buckets[second % SECONDS];
    if (current?.second === second) return current;
    const next = emptyBucket(second);
    buckets[second % SECONDS] = next;
    return next;
  }

  return {
    begin() {
      active++;
      bucket().requests++;
    },
    end(status) {
      active--;
      if (status === undefined) return;
      const current = bucket();
      current.responses++;
      if (status >= 500) current.errors++;
    },
    now() {
      const oldest = thisSecond() - SECONDS + 1;
      const recent = buckets.filter(({ second }) => second >= oldest);
      const sum = (name: 'requests' | 'responses' | 'errors') => recent.reduce((total, { [name]: n }) => total + n, 0);
      return {
        active,
        requestRate: sum('requests') / SECONDS,
        errorRate: sum('errors') / Math.max(1, sum('responses')),
      };
    },
  };
}

/** Counts every request for which `skip` returns false, refused requests too. Put it first. */
export function countTraffic(traffic: Traffic, skip: (path: string) => boolean): Guard {
  return function countTraffic(exchange) {
    const [path = ''] = exchange.request.url.split('?', 1);
    if (skip(path)) return undefined;
    traffic.begin();
    exchange.onEnd((outcome) => traffic.end(outcome.kind === 'aborted' ? undefined : outcome.status));
    return undefined;
  };
}

function emptyBucket(second: number) {
  return { second, requests: 0, responses: 0, errors: 0 };
}
