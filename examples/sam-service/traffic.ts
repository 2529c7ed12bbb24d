import type { Guard } from 'gatewarden';

export interface Traffic {
  begin(): void;
  /** Without a status where the client left before it was answered. */
  end(status: number | undefined): void;
  now(): {
    readonly active: number;
    /** Requests a second, over the last minute. */
    readonly requestRate: number;
    /** Which share of the last minute's answers had a status from 500. */
    readonly errorRate: number;
  };
}

const SECONDS = 60;

/** Requests under way, and those of the last minute, a bucket a second. `clock` gives milliseconds that never go back. */
export function recentTraffic(clock: () => number): Traffic {
  const buckets = Array.from({ length: SECONDS }, () => emptyBucket(Number.NEGATIVE_INFINITY));
  let active = 0;
  const thisSecond = () => Math.floor(clock() / 1000);

  function bucket() {
    const second = thisSecond();
    const found = buckets[second % SECONDS];
    if (found?.second === second) return found;
    const fresh = emptyBucket(second);
    buckets[second % SECONDS] = fresh;
    return fresh;
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
      current.answers++;
      if (status >= 500) current.errors++;
    },
    now() {
      const oldest = thisSecond() - SECONDS + 1;
      const recent = buckets.filter(({ second }) => second >= oldest);
      const sum = (name: 'requests' | 'answers' | 'errors') => recent.reduce((total, { [name]: n }) => total + n, 0);
      return {
        active,
        requestRate: sum('requests') / SECONDS,
        errorRate: sum('errors') / Math.max(1, sum('answers')),
      };
    },
  };
}

/** Counts every request that `skip` does not leave out, whoever answers it. Put it first. */
export function counted(traffic: Traffic, skip: (path: string) => boolean): Guard {
  return function counted(exchange) {
    const [path = ''] = exchange.request.url.split('?', 1);
    if (skip(path)) return undefined;
    traffic.begin();
    exchange.onEnd((outcome) => traffic.end(outcome.kind === 'aborted' ? undefined : outcome.status));
    return undefined;
  };
}

function emptyBucket(second: number) {
  return { second, requests: 0, answers: 0, errors: 0 };
}
