import { withTimeout } from '../../core/with-timeout.js';
import type { RedisClient, RedisConnection } from './client.js';

/** The least time without a word after which a connection is replaced, in milliseconds. */
const MIN_PATIENCE = 1000;
/** In timeouts. */
const PATIENCE = 4;
/** While a new connection is silent too, the next one is replaced later and later, up to this, in milliseconds. */
const MAX_PATIENCE = 30_000;
/** A client that rejects sooner than this has not waited for an answer, in milliseconds. */
const LEAST_WAIT = 20;
/** How long a client may take to close a connection and open another, in milliseconds. ioredis waits for two seconds. */
const REPLACING = 3000;

/**
 * Replaces connections that have died without a word: a firewall forgot them, or the server's machine is gone. The
 * system notices that after many minutes, and a client waits as long. After a call that was not answered, each open
 * connection is asked something that every server answers. A client that the service closes stays closed.
 */
export class ConnectionCheck {
  readonly #client: RedisClient;
  readonly #leastPatience: number;
  #patience: number;
  /** By `performance.now()`: until then, a connection may be the one that is being closed. */
  #notBefore = 0;
  #isRunning = false;
  #isStopped = false;
  /** How often the client has connected. */
  #connections = 0;

  /** `timeout` of a call, in milliseconds. */
  constructor(client: RedisClient, timeout: number) {
    this.#client = client;
    this.#leastPatience = Math.max(MIN_PATIENCE, PATIENCE * timeout);
    this.#patience = this.#leastPatience;
  }

  /** Call it after a call that was not answered in time. */
  run(): void {
    if (this.#isRunning || this.#isStopped || performance.now() < this.#notBefore || !isOpen(this.#client)) return;
    this.#isRunning = true;
    const connections = this.#client.nodes?.() ?? [this.#client];
    void Promise.all(connections.map((connection) => this.#replaceIfSilent(connection))).then((replaced) => {
      this.#isRunning = false;
      if (!replaced.includes(true)) return;
      this.#patience = Math.min(2 * this.#patience, MAX_PATIENCE);
      this.#notBefore = performance.now() + REPLACING;
    });
  }

  /**
   * Replaces all connections. Call it after a reply that is not that of its call: all later ones may be those of other
   * calls as well.
   */
  replace(): void {
    if (this.#isStopped || performance.now() < this.#notBefore || !isOpen(this.#client)) return;
    this.#notBefore = performance.now() + REPLACING;
    for (const connection of this.#client.nodes?.() ?? [this.#client]) {
      if (isOpen(connection)) connection.disconnect?.(true);
    }
  }

  /** Call it when the server has answered in time. */
  answered(): void {
    this.#patience = this.#leastPatience;
  }

  /** Call it when the client has connected. */
  connected(): void {
    this.#connections++;
  }

  stop(): void {
    this.#isStopped = true;
  }

  async #replaceIfSilent(connection: RedisConnection): Promise<boolean> {
    if (!isOpen(connection) || connection.disconnect === undefined) return false;
    const connections = this.#connections;
    if (await answers(connection, this.#patience)) return false;
    const isReplaced = connections !== this.#connections;
    if (this.#isStopped || isReplaced || !isOpen(connection) || !isOpen(this.#client)) return false;
    connection.disconnect(true);
    return true;
  }
}

/** A client that connects, waits to, or was closed by the service needs no help. */
function isOpen({ status }: RedisConnection): boolean {
  return status === undefined || status === 'ready' || status === 'connect';
}

/** Whether a connection answers within `patience` milliseconds. An error reply is an answer too. */
async function answers(connection: RedisConnection, patience: number): Promise<boolean> {
  const end = performance.now() + patience;
  for (;;) {
    const asked = performance.now();
    try {
      await withTimeout(connection.info('server'), end - asked, () => new Silence(), { background: true });
      return true;
    } catch (error) {
      if (error instanceof Silence) return false;
      // A client that gives up by itself, after its `commandTimeout`, has heard nothing: it is asked again. One that does
      // not even wait is not connected, or has no INFO.
      if (isReply(error) || performance.now() - asked < LEAST_WAIT) return true;
      if (performance.now() >= end) return false;
    }
  }
}

class Silence extends Error {}

function isReply(error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError';
}
