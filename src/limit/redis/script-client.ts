import { hash, randomBytes, randomInt } from 'node:crypto';
import { withTimeout } from '../../core/with-timeout.js';
import { type StoreError, unavailable } from '../store.js';
import { CallTimeouts } from './call-timeouts.js';
import { type ByteCommands, hasByteCommands, type RedisClient } from './client.js';
import { hashTagOf, slotOf } from './cluster-slot.js';
import { ConnectionCheck } from './connection-check.js';
import { type Delivery, undelivered } from './delivery.js';
import type { Answer, Operation } from './operation.js';
import { callFailure, isReplyTo, packCall, readReply, type ScriptCall, unknownReply } from './script-call.js';
import { SCRIPT } from './script-text.js';
import { ServerClock } from './server-clock.js';

const SHA = hash('sha1', SCRIPT, 'hex');
/** Calls are numbered from below this, so that they keep 16 digits for as long as a process may live. */
const MAX_FIRST_CALL = 2 ** 47;
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
  /** Called with the slot of each call that is answered in time. Without a Cluster, there is one slot, 0. */
  readonly onSuccess: (slot: number) => void;
  readonly onFailure: (slot: number, error: unknown) => void;
  /** Whether the server of a slot of a Cluster does not answer. Its calls are not even given to the client. */
  readonly isAway?: (slot: number) => boolean;
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

/** Receives the answers of a call that came after the timeout. */
export type LateAnswers = (operations: readonly Operation[], answers: readonly Answer[]) => void;

/**
 * Calls the script. Each call is answered or rejected within the timeout. A call that expires changes nothing if it
 * reaches the server later. A call that the client sends again, because a connection broke, runs once.
 */
export class ScriptClient {
  readonly clock: ServerClock;
  readonly #options: ScriptClientOptions;
  readonly #commands: ByteCommands;
  readonly #connections: ConnectionCheck;
  /** Keeps the markers of processes apart. */
  readonly #processName = randomBytes(6).toString('base64url');
  readonly #timeouts: CallTimeouts;
  readonly #learn = (at: number, preparedAt: number): void => this.clock.learn(at, preparedAt);
  /** The number of the latest call. It begins anywhere, so that a reply to another store's call is known as such. */
  #calls = randomInt(MAX_FIRST_CALL);
  #deliveries = 0;
  #answeredUpTo = 0;
  /** The probe that the client still has, by slot. There is never more than one, or a long outage would collect them. */
  readonly #earlierProbes = new Map<number, Promise<unknown>>();

  constructor(options: ScriptClientOptions) {
    this.#options = options;
    if (!hasByteCommands(options.client))
      throw new TypeError('gatewarden: redisStore needs a client with the commands of ioredis');
    this.#commands = options.client;
    this.clock = new ServerClock(options.now);
    this.#timeouts = new CallTimeouts(options.timeout);
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

  /** Whether calls for a slot of a Cluster are not given to the client, as its server does not answer. */
  isAway(slot: number): boolean {
    return this.isCluster && this.#options.isAway?.(slot) === true;
  }

  /** The slot of an operation. Operations of one call must be in one slot. */
  slotOf({ keys }: Operation): number {
    return slotOf(this.#options.client, keys[0] ?? '');
  }

  /** A call for these operations, which must all be in one slot. It can be sent more than once. */
  prepare(
    operations: readonly Operation[],
    { rememberFor, ownMarker, expiresAfter }: CallOptions,
    slot = 0,
  ): ScriptCall {
    const number = ++this.#calls;
    const serverNow = this.clock.now();
    return packCall(operations, {
      number,
      marker: (firstKey) => this.#markerOf(number, ownMarker, firstKey, slot),
      rememberFor,
      serverNow,
      now: this.clock.isManual ? serverNow : -1,
      latest: expiresAfter !== undefined && this.clock.isKnown ? this.clock.latest() + expiresAfter : -1,
      slack: this.clock.isManual ? MANUAL_CLOCK_SLACK_MS : KEY_SLACK_MS,
    });
  }

  /** Sends a call. Rejects with a `StoreError` if no answer comes within the timeout, or the call arrived too late. */
  send(call: ScriptCall, onLate?: LateAnswers): Promise<readonly Answer[]> {
    const { inTime, eventually } = this.deliver(call);
    inTime.catch(() => {
      eventually.then((answers) => onLate?.(call.operations, answers)).catch(() => undefined);
    });
    return inTime;
  }

  /** Sends a call, and reports both its answer in time and what becomes of it in the end. */
  deliver(call: ScriptCall, isProbe = false): Delivery {
    const order = ++this.#deliveries;
    const slot = slotOf(this.#options.client, String(call.args[0]));
    if (!isProbe && this.isAway(slot)) return undelivered(order);
    let isAnswered = false;
    const eventually = this.#evaluate(call).then(
      (reply) => {
        if (!isReplyTo(call, reply)) {
          this.#connections.replace();
          throw unknownReply();
        }
        isAnswered = true;
        if (!this.isCluster) this.#answeredUpTo = Math.max(this.#answeredUpTo, order);
        return readReply(call, reply, this.#learn);
      },
      (error: unknown) => {
        throw callFailure(call, error);
      },
    );
    const inTime = new Promise<readonly Answer[]>((resolve, reject) => {
      const fail = (failure: StoreError): void => {
        if (failure.code === 'GATEWARDEN_STORE_UNAVAILABLE') this.#options.onFailure(slot, failure);
        reject(failure);
      };
      const wait = this.#timeouts.begin(() => fail(this.#noAnswer()));
      eventually.then(
        (answers) => {
          if (!this.#timeouts.end(wait)) return;
          this.#answered(slot);
          resolve(answers);
        },
        (error: unknown) => {
          if (!this.#timeouts.end(wait)) return;
          // The reply may say that the call came too late.
          if (isAnswered) this.#answered(slot);
          fail(callFailure(call, error));
        },
      );
    });
    // Some callers do not read it.
    inTime.catch(() => undefined);
    return { inTime, eventually, order };
  }

  /**
   * Resolves if the server of a slot answers a call within the timeout. The call writes its marker: a server that answers but
   * cannot write is not back.
   */
  async probe(slot: number): Promise<void> {
    const { timeout } = this.#options;
    const probes = this.#earlierProbes;
    const earlier = probes.get(slot);
    // A connection that was silent and speaks again answers the earlier probe first.
    if (earlier !== undefined) await withTimeout(earlier, timeout, () => this.#noAnswer(), { background: true });
    const call = this.prepare([], { rememberFor: timeout, ownMarker: false, expiresAfter: undefined }, slot);
    const { inTime, eventually } = this.deliver(call, true);
    const probe = eventually
      .catch(() => undefined)
      .then(() => {
        if (probes.get(slot) === probe) probes.delete(slot);
      });
    probes.set(slot, probe);
    await inTime;
  }

  /** Call it when the client has connected. */
  connected(): void {
    this.#connections.connected();
    // A client that sends nothing again never answers the earlier probes.
    this.#earlierProbes.clear();
  }

  stop(): void {
    this.#connections.stop();
  }

  /** The server has answered in time. */
  #answered(slot: number): void {
    this.#connections.answered();
    this.#options.onSuccess(slot);
  }

  #noAnswer(): StoreError {
    this.#connections.run();
    return unavailable(`Redis did not answer within ${this.#options.timeout} ms`);
  }

  async #evaluate({ keyCount, args }: ScriptCall): Promise<unknown> {
    try {
      return await this.#commands.evalshaBuffer(SHA, keyCount, ...args);
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
      return this.#commands.evalBuffer(SCRIPT, keyCount, ...args);
    }
  }

  #markerOf(number: number, own: boolean, firstKey: string | undefined, slot: number): string {
    const { client, prefix } = this.#options;
    const tag = client.isCluster ? hashTagOf(firstKey === undefined ? slot : slotOf(client, firstKey)) : '';
    const name = own ? number : `r${number % (client.isCluster ? CLUSTER_MARKERS : MARKERS)}`;
    return `${prefix}{${tag}}:${this.#processName}:${name}`;
  }
}
