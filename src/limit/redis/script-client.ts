import { hash, randomBytes } from 'node:crypto';
import { withTimeout } from '../../core/with-timeout.js';
import { type StoreError, unavailable } from '../store.js';
import type { RedisClient } from './client.js';
import { hashTagOf, slotOf } from './cluster-slot.js';
import { ConnectionCheck } from './connection-check.js';
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
  /** After how many milliseconds the call changes nothing any more; undefined: never. */
  readonly expiresAfter: number | undefined;
}

/** A call on its way. */
export interface Delivery {
  /** Rejects with a `StoreError` if no answer comes within the timeout. */
  readonly inTime: Promise<readonly Answer[]>;
  /** Settles when the client is done with the call, however late. While it does not, the client may still send the call. */
  readonly eventually: Promise<readonly Answer[]>;
  /** Its place among all deliveries. */
  readonly order: number;
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
  readonly #connections: ConnectionCheck;
  /** Keeps the markers of processes apart. */
  readonly #processName = randomBytes(6).toString('base64url');
  #calls = 0;
  #deliveries = 0;
  #answeredUpTo = 0;
  /** The probe that the client still has. There is never more than one, or a long outage would collect them. */
  #earlierProbe: Promise<unknown> | undefined;

  constructor(options: ScriptClientOptions) {
    this.#options = options;
    this.clock = new ServerClock(options.now);
    this.#connections = new ConnectionCheck(options.client, options.timeout);
  }

  get isCluster(): boolean {
    return this.#options.client.isCluster;
  }

  get timeout(): number {
    return this.#options.timeout;
  }

  /**
   * A delivery of an earlier order that has no answer yet gets none: a connection answers in the order of its calls, so
   * the client has dropped it. The connections of a Cluster have no common order, and its client drops nothing.
   */
  get answeredUpTo(): number {
    return this.#answeredUpTo;
  }

  /** The slot of an operation. Operations of one call must be in one slot. */
  slotOf({ keys }: Operation): number {
    return slotOf(this.#options.client, keys[0] ?? '');
  }

  /** A call for these operations, which must all be in one slot. It can be sent more than once. */
  prepare(operations: readonly Operation[], { rememberFor, ownMarker, expiresAfter }: CallOptions): ScriptCall {
    const number = ++this.#calls;
    const serverNow = this.clock.now();
    return packCall(operations, {
      number,
      marker: (firstKey) => this.#markerOf(number, ownMarker, firstKey),
      rememberFor,
      serverNow,
      now: this.clock.isManual ? serverNow : '',
      latest: expiresAfter !== undefined && this.clock.isKnown ? this.clock.latest() + expiresAfter : '',
      slack: this.clock.isManual ? MANUAL_CLOCK_SLACK_MS : KEY_SLACK_MS,
    });
  }

  /** Sends a call. Rejects with a `StoreError` if no answer comes within the timeout, or the call arrived too late. */
  async send(call: ScriptCall, onLate?: LateAnswers): Promise<readonly Answer[]> {
    const { inTime, eventually } = this.deliver(call);
    try {
      return await inTime;
    } catch (error) {
      eventually.then((answers) => onLate?.(call.operations, answers)).catch(() => undefined);
      throw error;
    }
  }

  /** Sends a call, and reports both its answer in time and what becomes of it in the end. */
  deliver(call: ScriptCall): Delivery {
    const order = ++this.#deliveries;
    const reply = this.#evaluate(call);
    const eventually = reply.then(
      (value) => {
        if (!this.isCluster) this.#answeredUpTo = Math.max(this.#answeredUpTo, order);
        return readReply(call, value, (at, preparedAt) => this.clock.learn(at, preparedAt));
      },
      (error: unknown) => {
        throw callFailure(call, error);
      },
    );
    const inTime = this.#inTime(call, reply, eventually);
    // Each is read by some callers only.
    for (const promise of [inTime, eventually]) promise.catch(() => undefined);
    return { inTime, eventually, order };
  }

  /**
   * Resolves if the server answers a call within the timeout. The call writes its marker: a server that answers but
   * cannot write is not back.
   */
  async probe(): Promise<void> {
    const { timeout } = this.#options;
    // A connection that was silent and speaks again answers the earlier probe first.
    if (this.#earlierProbe !== undefined) await withTimeout(this.#earlierProbe, timeout, () => this.#noAnswer());
    const { inTime, eventually } = this.deliver(
      this.prepare([], { rememberFor: timeout, ownMarker: false, expiresAfter: undefined }),
    );
    const probe = eventually
      .catch(() => undefined)
      .then(() => {
        if (this.#earlierProbe === probe) this.#earlierProbe = undefined;
      });
    this.#earlierProbe = probe;
    await inTime;
  }

  /** Call it when the client has connected. */
  connected(): void {
    this.#connections.connected();
    // A client that sends nothing again never answers the earlier probe.
    this.#earlierProbe = undefined;
  }

  stop(): void {
    this.#connections.stop();
  }

  async #inTime(
    call: ScriptCall,
    reply: Promise<unknown>,
    eventually: Promise<readonly Answer[]>,
  ): Promise<readonly Answer[]> {
    const { timeout, onSuccess, onFailure } = this.#options;
    try {
      await withTimeout(reply, timeout, () => this.#noAnswer());
      this.#connections.answered();
      onSuccess();
      return await eventually;
    } catch (error) {
      const failure = callFailure(call, error);
      if (failure.code === 'GATEWARDEN_STORE_UNAVAILABLE') onFailure(failure);
      throw failure;
    }
  }

  #noAnswer(): StoreError {
    this.#connections.run();
    return unavailable(`Redis did not answer within ${this.#options.timeout} ms`);
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

  #markerOf(number: number, own: boolean, firstKey: string | undefined): string {
    const { client, prefix } = this.#options;
    const tag = client.isCluster && firstKey !== undefined ? hashTagOf(slotOf(client, firstKey)) : '';
    const name = own ? number : `r${number % (client.isCluster ? CLUSTER_MARKERS : MARKERS)}`;
    return `${prefix}{${tag}}:${this.#processName}:${name}`;
  }
}
