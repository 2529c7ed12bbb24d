import { randomBytes } from 'node:crypto';
import type { Joined, JoinRequest, QueueSettings, WaitingQueue } from '../../queue/waiting-queue.js';
import { type StoreError, unavailable } from '../../store.js';
import type { RedisClient } from '../client.js';
import { redisKey } from '../layout.js';
import type { ServerClock } from '../server-clock.js';
import { type QueueKeys, queueKeys } from './queue-key.js';
import { QueueScript, type QueueScriptOptions } from './queue-script.js';
import { growingInterval, type QueueSurroundings } from './queue-surroundings.js';
import { QueueTickets } from './queue-tickets.js';
import { QueueWakeups, type RedisSubscriber } from './queue-wakeups.js';

/** What the queues of a store need. */
export interface RedisQueuesOptions extends QueueScriptOptions {
  readonly client: RedisClient;
  readonly subscriber: RedisSubscriber | undefined;
  readonly prefix: string;
  readonly clock: ServerClock;
  /** How often Redis is asked for news, in milliseconds. */
  readonly interval: number;
}

/** The queues of a store, which all processes share. */
export class RedisQueues {
  readonly #prefix: string;
  readonly #around: QueueSurroundings;
  readonly #wakeups: QueueWakeups;
  /** Keeps the tickets of processes apart. */
  readonly #processName = randomBytes(6).toString('base64url');
  /** Those with tickets of this process, by their Redis keys. */
  readonly #live = new Map<string, QueueTickets>();
  #tickets = 0;
  #isStopped = false;

  constructor(options: RedisQueuesOptions) {
    const { subscriber, prefix, clock, timeout, interval } = options;
    this.#prefix = prefix;
    this.#wakeups = new QueueWakeups(subscriber, `${prefix}queue:${this.#processName}`, (key) => {
      if (key !== undefined) this.#live.get(key)?.wake();
      // Redis must know at which channel this process listens.
      else for (const tickets of this.#live.values()) tickets.wake();
    });
    const script = new QueueScript(options);
    this.#around = {
      script,
      clock,
      owner: this.#processName,
      timeout,
      intervalFor: growingInterval(interval),
      nextNumber: () => ++this.#tickets,
      channel: () => this.#wakeups.channel,
    };
  }

  /** A queue for each partition key of one policy. */
  open(settings: QueueSettings): WaitingQueue {
    return {
      join: (request: JoinRequest): Promise<Joined> => {
        if (this.#isStopped) return Promise.reject(closed());
        this.#wakeups.start();
        const keys = queueKeys(this.#prefix, redisKey(this.#prefix, request.key), settings.policy.id);
        return this.#ticketsOf(keys, settings).join(settings, request);
      },
    };
  }

  /** Rejects all that wait, and stops the use of the clients. */
  stop(): void {
    this.#isStopped = true;
    for (const tickets of this.#live.values()) tickets.stop(closed());
    this.#live.clear();
    this.#wakeups.stop();
  }

  #ticketsOf(keys: QueueKeys, settings: QueueSettings): QueueTickets {
    const [key] = keys;
    let tickets = this.#live.get(key);
    if (tickets === undefined) {
      const made = new QueueTickets(this.#around, keys, settings, () => {
        if (this.#live.get(key) === made) this.#live.delete(key);
      });
      this.#live.set(key, made);
      tickets = made;
    }
    return tickets;
  }
}

function closed(): StoreError {
  return unavailable('the store was closed');
}
