import { hash, randomBytes } from 'node:crypto';
import { withTimeout } from '../../core/with-timeout.js';
import { unavailable } from '../store.js';
import type { RedisClient } from './client.js';
import { hashTagOf, slotOf } from './cluster-slot.js';
import type { Answer, Operation } from './operation.js';
import SCRIPT from './script.lua';
import { callFailure, packCall, readReply, type ScriptCall } from './script-call.js';
import { ServerClock } from './server-clock.js';

const SHA = hash('sha1', SCRIPT, 'hex');
/** How many shared marker names one process uses. In a Cluster, how many for each slot. */
const MARKERS = 256;
const CLUSTER_MARKERS = 4;
/** How much longer than their counters keys live, in milliseconds: room for a clock that is set back a little. */
const KEY_SLACK_MS = 1000;
/** The same if decisions use another clock than the server's, by which the keys expire. */
const MANUAL_CLOCK_SLACK_MS = 3_600_000;

/** How `ScriptClient` reaches Redis, and what it reports to. */
export interface ScriptClientOptions {
  readonly client: RedisClient;
  readonly prefix: string;
  /** How long a call may take, in milliseconds. */
  readonly timeout: number;
  /** A clock in epoch milliseconds instead of the server's own. */
  readonly now: (() => number) | undefined;
  readonly onSuccess: () => void;
  readonly onFailure: (error: unknown) => void;
}

/** How a call is made. */
export interface CallOptions {
  /** How long the server remembers the reply, in milliseconds. */
  readonly rememberFor: number;
  /** Whether the call has a marker of its own. The other calls share a few markers, which later calls overwrite. */
  readonly ownMarker: boolean;
  /** Whether the call changes nothing if it reaches the server after the timeout. */
  readonly expires: boolean;
}

/** Receives the answers of a call that came after the timeout. */
export type LateAnswers = (operations: readonly Operation[], answers: readonly Answer[]) => void;

/**
 * Calls the script. Each call is answered or rejected within the timeout. A call that expires changes nothing if it
 * reaches the server later. A call that the client sends again, because a connection broke, runs once.
 */
export class ScriptClient {
  readonly clock: ServerClock;
  readonly #options: ScriptClientOptions;
  /** Keeps the markers of processes apart. */
  readonly #processName = randomBytes(6).toString('base64url');
  #calls = 0;

  constructor(options: ScriptClientOptions) {
    this.#options = options;
    this.clock = new ServerClock(options.now);
  }

  get timeout(): number {
    return this.#options.timeout;
  }

  /** The slot of an operation. Operations of one call must be in one slot. */
  slotOf({ keys }: Operation): number {
    return slotOf(this.#options.client, keys[0] ?? '');
  }

  /** A call for these operations, which must all be in one slot. It can be sent more than once. */
  prepare(operations: readonly Operation[], { rememberFor, ownMarker, expires }: CallOptions): ScriptCall {
    const number = ++this.#calls;
    const serverNow = this.clock.now();
    return packCall(operations, {
      number,
      marker: (firstKey) => this.#markerOf(number, ownMarker, firstKey),
      rememberFor,
      serverNow,
      now: this.clock.isManual ? serverNow : '',
      latest: expires && this.clock.isKnown ? serverNow + this.#options.timeout : '',
      slack: this.clock.isManual ? MANUAL_CLOCK_SLACK_MS : KEY_SLACK_MS,
    });
  }

  /** Sends a call. Rejects with a `StoreError` if no answer comes within the timeout, or the call arrived too late. */
  async send(call: ScriptCall, onLate?: LateAnswers): Promise<readonly Answer[]> {
    const { timeout, onSuccess, onFailure } = this.#options;
    const reply = this.#evaluate(call);
    try {
      const value = await withTimeout(reply, timeout, () => unavailable(`Redis did not answer within ${timeout} ms`));
      onSuccess();
      return this.#read(call, value);
    } catch (error) {
      const failure = callFailure(call, error);
      if (failure.code === 'GATEWARDEN_STORE_UNAVAILABLE') onFailure(failure);
      reply.then((value) => onLate?.(call.operations, this.#read(call, value))).catch(() => undefined);
      throw failure;
    }
  }

  async #evaluate({ keyCount, args }: ScriptCall): Promise<unknown> {
    const { client } = this.#options;
    try {
      return await client.evalsha(SHA, keyCount, ...args);
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
      return client.eval(SCRIPT, keyCount, ...args);
    }
  }

  #read(call: ScriptCall, reply: unknown): readonly Answer[] {
    return readReply(call, reply, (at) => this.clock.learn(at));
  }

  #markerOf(number: number, own: boolean, firstKey: string | undefined): string {
    const { client, prefix } = this.#options;
    const tag = client.isCluster && firstKey !== undefined ? hashTagOf(slotOf(client, firstKey)) : '';
    const name = own ? number : `r${number % (client.isCluster ? CLUSTER_MARKERS : MARKERS)}`;
    return `${prefix}{${tag}}:${this.#processName}:${name}`;
  }
}
