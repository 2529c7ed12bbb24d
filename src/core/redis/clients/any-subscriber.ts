import { type GlideRedisClient, isGlide } from './glide.js';
import type { SubscriberPort } from './port.js';

type OnMessage = (channel: string, message: string) => void;

/** A client of node-redis 5 (the package `redis`) that receives messages. With RESP2 it can run no other commands. */
export interface NodeRedisSubscriber {
  withTypeMapping(typeMapping: object): object;
  subscribe(channel: string, listener: (message: string, channel: string) => void): Promise<unknown>;
  unsubscribe(channel: string, listener?: (message: string, channel: string) => void): Promise<unknown>;
}

/** A client of `@valkey/valkey-glide` 2 that receives messages. It must have been created without a callback for them. */
export interface GlideSubscriber extends GlideRedisClient {
  subscribe(channels: Iterable<string>, timeout: number): Promise<unknown>;
  unsubscribe(channels: Iterable<string>, timeout: number): Promise<unknown>;
  getPubSubMessage(): Promise<{ readonly channel: unknown; readonly message: unknown }>;
}

/** A subscriber of another package than ioredis. */
export type OtherSubscriber = NodeRedisSubscriber | GlideSubscriber;

/** What an error says about a subscriber that is none. */
export const ACCEPTED_SUBSCRIBERS =
  'must be a client of ioredis, redis 5 or @valkey/valkey-glide, and another one than "client"';

/** How long a client of GLIDE waits until it is subscribed, in milliseconds. */
const SUBSCRIBE_WITHIN = 5000;

/** A subscriber, under the names of ioredis. What is not recognized is returned as it is. */
export function subscriberPortOf<Subscriber extends object>(
  subscriber: Subscriber | OtherSubscriber,
): Subscriber | SubscriberPort {
  if (typeof subscriber !== 'object' || subscriber === null) return subscriber;
  if (isGlideSubscriber(subscriber)) return GlideMessages.of(subscriber);
  if (isNodeRedisSubscriber(subscriber)) return new NodeRedisMessages(subscriber);
  return subscriber;
}

function isNodeRedisSubscriber(subscriber: object): subscriber is NodeRedisSubscriber {
  return ['withTypeMapping', 'subscribe', 'unsubscribe'].every((name) => hasMethod(subscriber, name));
}

function isGlideSubscriber(subscriber: object): subscriber is GlideSubscriber {
  return (
    isGlide(subscriber) && ['subscribe', 'unsubscribe', 'getPubSubMessage'].every((name) => hasMethod(subscriber, name))
  );
}

function hasMethod(value: object, name: string): boolean {
  return typeof Reflect.get(value, name) === 'function';
}

/** node-redis has a listener for each channel. */
class NodeRedisMessages implements SubscriberPort {
  readonly #client: NodeRedisSubscriber;
  readonly #listeners = new Set<OnMessage>();
  readonly #receive = (message: string, channel: string): void => {
    for (const listener of [...this.#listeners]) listener(channel, message);
  };

  constructor(client: NodeRedisSubscriber) {
    this.#client = client;
  }

  async subscribe(channel: string): Promise<unknown> {
    return this.#client.subscribe(channel, this.#receive);
  }

  async unsubscribe(channel: string): Promise<unknown> {
    // Other listeners of this channel stay.
    return this.#client.unsubscribe(channel, this.#receive);
  }

  on(_: 'message', listener: OnMessage): void {
    this.#listeners.add(listener);
  }

  off(_: 'message', listener: OnMessage): void {
    this.#listeners.delete(listener);
  }
}

/** GLIDE hands out messages one by one, each to one receiver: all stores share one for each client. */
class GlideMessages implements SubscriberPort {
  readonly #client: GlideSubscriber;
  readonly #listeners = new Set<OnMessage>();
  #isReceiving = false;

  private constructor(client: GlideSubscriber) {
    this.#client = client;
  }

  static of(client: GlideSubscriber): GlideMessages {
    let messages = GLIDE_MESSAGES.get(client);
    if (messages === undefined) {
      messages = new GlideMessages(client);
      GLIDE_MESSAGES.set(client, messages);
    }
    return messages;
  }

  async subscribe(channel: string): Promise<unknown> {
    this.#receive();
    return this.#client.subscribe([channel], SUBSCRIBE_WITHIN);
  }

  async unsubscribe(channel: string): Promise<unknown> {
    return this.#client.unsubscribe([channel], SUBSCRIBE_WITHIN);
  }

  on(_: 'message', listener: OnMessage): void {
    this.#listeners.add(listener);
  }

  off(_: 'message', listener: OnMessage): void {
    this.#listeners.delete(listener);
  }

  /** Until the client is closed. */
  #receive(): void {
    if (this.#isReceiving) return;
    this.#isReceiving = true;
    const next = (): void => {
      this.#client.getPubSubMessage().then(
        ({ channel, message }) => {
          for (const listener of [...this.#listeners]) listener(String(channel), String(message));
          next();
        },
        () => {
          this.#isReceiving = false;
        },
      );
    };
    next();
  }
}

const GLIDE_MESSAGES = new WeakMap<GlideSubscriber, GlideMessages>();
