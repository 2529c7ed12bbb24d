import { hash } from 'node:crypto';
import { type StoreError, unavailable } from '../../store.js';
import { CallTimeouts } from '../call-timeouts.js';
import { type ByteCommands, hasByteCommands, type RedisClient } from '../client.js';
import { slotOf } from '../cluster-slot.js';
import { callFailure, type ScriptCall } from '../script-call.js';
import SCRIPT from './queue.lua';
import type { QueueKeys } from './queue-key.js';

const SHA = hash('sha1', SCRIPT, 'hex');

/** How `QueueScript` reaches Redis, and what it reports to. */
export interface QueueScriptOptions {
  readonly client: RedisClient;
  /** How long a call may take, in milliseconds. */
  readonly timeout: number;
  /** Called with the slot of each call that is answered in time. */
  readonly onSuccess: (slot: number) => void;
  readonly onFailure: (slot: number, error: unknown) => void;
  /** Whether the server of a slot does not answer. Its calls are not even given to the client. */
  readonly isAway: (slot: number) => boolean;
}

/**
 * Calls the script of queues. Each call is answered or rejected within the timeout. It may still run later, or twice if a
 * connection breaks: the script is made for that.
 */
export class QueueScript {
  readonly #options: QueueScriptOptions;
  readonly #commands: ByteCommands;
  readonly #timeouts: CallTimeouts;

  constructor(options: QueueScriptOptions) {
    if (!hasByteCommands(options.client))
      throw new TypeError('gatewarden: redisStore needs a client with the commands of ioredis');
    this.#options = options;
    this.#commands = options.client;
    this.#timeouts = new CallTimeouts(options.timeout);
  }

  /** Calls it for a queue, and for the counter of its slots. Rejects with a `StoreError` if no answer comes in time. */
  call(keys: QueueKeys, args: readonly (string | number)[]): Promise<unknown> {
    const { client, timeout, onSuccess, onFailure, isAway } = this.#options;
    const [key] = keys;
    const slot = slotOf(client, key);
    if (isAway(slot)) return Promise.reject(unavailable('Redis does not answer'));
    return new Promise((resolve, reject) => {
      const fail = (failure: StoreError): void => {
        if (failure.code === 'GATEWARDEN_STORE_UNAVAILABLE') onFailure(slot, failure);
        reject(failure);
      };
      const wait = this.#timeouts.begin(() => fail(unavailable(`Redis did not answer within ${timeout} ms`)));
      this.#evaluate(keys, args).then(
        (reply) => {
          if (!this.#timeouts.end(wait)) return;
          onSuccess(slot);
          resolve(reply);
        },
        (error: unknown) => {
          if (this.#timeouts.end(wait)) fail(callFailure(faultyCall(key), error));
        },
      );
    });
  }

  async #evaluate(keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    try {
      return await this.#commands.evalshaBuffer(SHA, keys.length, ...keys, ...args);
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
      return this.#commands.evalBuffer(SCRIPT, keys.length, ...keys, ...args);
    }
  }
}

/** What an error names. */
function faultyCall(key: string): ScriptCall {
  return { operations: [], keyCount: 2, args: ['', key], preparedAt: 0 };
}
