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

/** Hears of turns at once, over a second connection. Without one, or while it is away, turns are found by asking. */
export class QueueWakeups {
  readonly #subscriber: RedisSubscriber | undefined;
  readonly #channel: string;
  readonly #onMessage: (channel: string, message: string) => void;
  #isSubscribed = false;
  #isAsked = false;
  #isStopped = false;

  /** `onWake` receives the Redis key of a queue. */
  constructor(subscriber: RedisSubscriber | undefined, channel: string, onWake: (key: string) => void) {
    this.#subscriber = subscriber;
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
    this.#isAsked = true;
    this.#subscriber.on('message', this.#onMessage);
    this.#subscriber.subscribe(this.#channel).then(
      () => {
        this.#isSubscribed = true;
      },
      () => {
        // Asked again with the next ticket. Until then, turns are found by asking.
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
