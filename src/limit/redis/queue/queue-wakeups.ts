/** The part of a second ioredis client, version 5 or 6, that receives messages: a `Redis` or a `Cluster`. */
export interface RedisSubscriber {
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  on(event: 'message', listener: (channel: string, message: string) => void): unknown;
  off(event: 'message', listener: (channel: string, message: string) => void): unknown;
}

const METHODS: readonly (keyof RedisSubscriber)[] = ['subscribe', 'unsubscribe', 'on', 'off'];

/** Whether a value has what is used of a subscriber. */
export function isSubscriber(value: object | null): value is RedisSubscriber {
  return METHODS.every((name) => typeof Reflect.get(Object(value), name) === 'function');
}

/** A subscription that failed is tried again after so long, in milliseconds. */
const RETRY_MS = 5000;

/** Learns of turns at once, over a second connection. Without one, or while it is away, turns are found by asking. */
export class QueueWakeups {
  readonly #subscriber: RedisSubscriber | undefined;
  readonly #channel: string;
  readonly #onWake: (key: string | undefined) => void;
  readonly #onMessage: (channel: string, message: string) => void;
  /** By `performance.now()`. */
  #notBefore = 0;
  #isSubscribed = false;
  #isAsked = false;
  #isStopped = false;

  /** `onWake` receives the Redis key of a queue, or undefined when messages can arrive from now on. */
  constructor(subscriber: RedisSubscriber | undefined, channel: string, onWake: (key: string | undefined) => void) {
    this.#subscriber = subscriber;
    this.#onWake = onWake;
    this.#channel = channel;
    this.#onMessage = (from, message) => {
      if (from === channel) onWake(message);
    };
  }

  /** The channel, once messages can arrive; empty before, or without a subscriber. */
  get channel(): string {
    return this.#isSubscribed ? this.#channel : '';
  }

  /** Call it when there is something to hear of. */
  start(): void {
    if (this.#subscriber === undefined || this.#isAsked || this.#isStopped) return;
    if (performance.now() < this.#notBefore) return;
    this.#isAsked = true;
    this.#subscriber.on('message', this.#onMessage);
    this.#subscriber.subscribe(this.#channel).then(
      () => {
        if (this.#isStopped) return;
        this.#isSubscribed = true;
        this.#onWake(undefined);
      },
      () => {
        // Asked again with a later ticket. Until then, turns are found by asking.
        this.#notBefore = performance.now() + RETRY_MS;
        this.#subscriber?.off('message', this.#onMessage);
        this.#isAsked = false;
      },
    );
  }

  stop(): void {
    this.#isStopped = true;
    this.#isSubscribed = false;
    if (!this.#isAsked) return;
    this.#subscriber?.off('message', this.#onMessage);
    this.#subscriber?.unsubscribe(this.#channel).catch(() => undefined);
  }
}
