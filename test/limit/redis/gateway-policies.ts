import { concurrency, dailyQuota, gpuTime, type QuotaPolicy, slidingWindow } from '../../../src/limit/policy.js';

/** The lease of `leased`, in milliseconds. */
export const LEASED_MS = 1500;

/** What five credits of each kind are. `all` has room for five by its slots alone. */
export const POLICIES: Readonly<Record<string, QuotaPolicy | readonly QuotaPolicy[]>> = {
  requests: slidingWindow({ limit: 5, window: '1h', name: 'requests' }),
  day: dailyQuota({ limit: 5, name: 'day' }),
  slots: concurrency({ limit: 5, name: 'slots' }),
  'gpu-window': gpuTime({ limit: '5s', window: '1h', estimate: '1s', name: 'gpu-window' }),
  'gpu-day': gpuTime({ limit: '5s', window: 'day', estimate: () => 1000, name: 'gpu-day' }),
  leased: concurrency({ limit: 1, name: 'leased', lease: `${LEASED_MS}ms` }),
  all: [
    slidingWindow({ limit: 500, window: '1h', name: 'all-requests' }),
    dailyQuota({ limit: 500, name: 'all-day' }),
    concurrency({ limit: 5, name: 'all-slots' }),
    gpuTime({ limit: '500s', window: '1h', estimate: '1s', name: 'all-gpu' }),
  ],
};
