import type { Exchange } from '../core/exchange.js';
import type { ExchangeObserver, StoreOperation } from '../core/exchange-observer.js';
import { isThenable } from '../core/thenable.js';
import type { LimitStore } from './store.js';

/** What `limit` asks of a store for one exchange. */
export type StoreCalls = Pick<LimitStore, 'admit' | 'settle' | 'renew' | 'release'>;
type StoreObserver = Required<Pick<ExchangeObserver<Exchange>, 'storeAnswered'>>;

/** The store for calls that belong to `exchange`. If the exchange has an observer, it receives how long each has taken. */
export function observedStore(exchange: Exchange, store: LimitStore): StoreCalls {
  const { observer } = exchange;
  return hasStoreAnswered(observer) ? new ObservedStore(exchange, store, observer) : store;
}

function hasStoreAnswered(observer: Exchange['observer']): observer is StoreObserver {
  return observer?.storeAnswered !== undefined;
}

class ObservedStore implements StoreCalls {
  readonly #exchange: Exchange;
  readonly #store: LimitStore;
  readonly #observer: StoreObserver;

  constructor(exchange: Exchange, store: LimitStore, observer: StoreObserver) {
    this.#exchange = exchange;
    this.#store = store;
    this.#observer = observer;
  }

  admit(...args: Parameters<LimitStore['admit']>): ReturnType<LimitStore['admit']> {
    return this.#timed('admit', () => this.#store.admit(...args));
  }

  settle(...args: Parameters<LimitStore['settle']>): ReturnType<LimitStore['settle']> {
    return this.#timed('settle', () => this.#store.settle(...args));
  }

  renew(...args: Parameters<LimitStore['renew']>): ReturnType<LimitStore['renew']> {
    return this.#timed('renew', () => this.#store.renew(...args));
  }

  release(...args: Parameters<LimitStore['release']>): ReturnType<LimitStore['release']> {
    return this.#timed('release', () => this.#store.release(...args));
  }

  #timed<T>(operation: StoreOperation, call: () => T | Promise<T>): T | Promise<T> {
    const startedAt = performance.now();
    const answered = (error: unknown) =>
      this.#observer.storeAnswered(this.#exchange, operation, performance.now() - startedAt, error);
    let answer: T | Promise<T>;
    try {
      answer = call();
    } catch (error) {
      answered(error ?? new Error('the store threw nothing'));
      throw error;
    }
    if (!isThenable(answer)) {
      answered(undefined);
      return answer;
    }
    const late = Promise.resolve(answer);
    // This promise cannot reject, and the caller still has the one that can.
    void late.then(
      () => answered(undefined),
      (error: unknown) => answered(error ?? new Error('the store rejected with nothing')),
    );
    return late;
  }
}
