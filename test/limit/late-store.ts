import type { LimitStore } from '../../src/limit/store.js';

/** The same store, but it answers by promises, as a server does. It has no queues. */
export function late(store: LimitStore): LimitStore {
  return {
    admit: async (...args) => store.admit(...args),
    settle: async (...args) => store.settle(...args),
    renew: async (receipt) => store.renew(receipt),
    release: async (receipt) => store.release(receipt),
    peek: async (...args) => store.peek(...args),
    reset: async (...args) => store.reset(...args),
  };
}
