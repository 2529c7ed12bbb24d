import { ignoreRejection } from '../../core/thenable.js';

/** The commands used of an ioredis client that subscribes. */
export interface JobSubscriber {
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  on(event: 'message', listener: (channel: string, message: string) => void): unknown;
}

/** The most jobs that are read at each interval, so that many jobs do not keep Redis busy. More have longer intervals. */
const MAX_POLLED = 500;

/** The watchers of jobs in this process. There is one timer while there are any. */
export class JobWatchers {
  readonly #interval: number;
  readonly #prefix: string;
  readonly #subscriber: JobSubscriber | undefined;
  readonly #listeners = new Map<string, Set<() => void>>();
  #timer: NodeJS.Timeout | undefined;
  #isListening = false;

  constructor(interval: number, prefix: string, subscriber: JobSubscriber | undefined) {
    this.#interval = interval;
    this.#prefix = prefix;
    this.#subscriber = subscriber;
  }

  watch(id: string, onChange: () => void): () => void {
    // A function of its own, since two watchers may pass the same one.
    const listener = () => onChange();
    const listeners = this.#listeners.get(id) ?? new Set();
    if (listeners.size === 0) {
      this.#listeners.set(id, listeners);
      this.#subscribe(id);
    }
    listeners.add(listener);
    this.#timer ??= setInterval(() => this.#poll(), this.#interval).unref();
    return () => this.#remove(id, listener);
  }

  /** A job has changed. */
  changed(id: string): void {
    for (const listener of [...(this.#listeners.get(id) ?? [])]) listener();
  }

  /** Those that were called longest ago. */
  #poll(): void {
    let left = Math.min(MAX_POLLED, this.#listeners.size);
    for (const [id, listeners] of this.#listeners) {
      if (left-- === 0) return;
      this.#listeners.delete(id);
      this.#listeners.set(id, listeners);
      this.changed(id);
    }
  }

  #remove(id: string, listener: () => void): void {
    const listeners = this.#listeners.get(id);
    if (listeners?.delete(listener) !== true || listeners.size > 0) return;
    this.#listeners.delete(id);
    ignoreRejection(this.#subscriber?.unsubscribe(this.#prefix + id));
    if (this.#listeners.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** A job is published under the name of its key. If this fails, the timer remains. */
  #subscribe(id: string): void {
    if (this.#subscriber === undefined) return;
    if (!this.#isListening) {
      this.#isListening = true;
      this.#subscriber.on('message', (channel) => {
        if (channel.startsWith(this.#prefix)) this.changed(channel.slice(this.#prefix.length));
      });
    }
    ignoreRejection(this.#subscriber.subscribe(this.#prefix + id));
  }
}
