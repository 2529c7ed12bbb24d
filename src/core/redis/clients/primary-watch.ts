import calculateSlot from 'cluster-key-slot';
import type { NodeRedisCluster, NodeRedisNode } from './node-redis-client.js';
import type { WriteGate } from './write-gate.js';

/** How often a live node is asked while a primary is away, in milliseconds. */
const LOOK_EVERY_MS = 2000;

/**
 * Lets a Cluster client of node-redis find the replica that has taken over from a dead primary. By itself it looks for the
 * owner of a slot only when a node redirects it, and a dead node does not redirect: what is sent to it would wait until it
 * is back. So while the primary of a slot has no connection, a live node is asked for a key of that slot. It answers with a
 * redirection, and the client reads the slots again.
 */
export class PrimaryWatch {
  readonly #client: NodeRedisCluster;
  readonly #gate: WriteGate;
  /** A key that each primary has answered for, by its address. */
  readonly #answered = new Map<string, string>();
  /** Keys whose primary has no connection, by its address. */
  readonly #away = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #isLooking = false;

  constructor(client: NodeRedisCluster, gate: WriteGate) {
    this.#client = client;
    this.#gate = gate;
  }

  /** Call it before a command is sent about a key. */
  sending(key: string): void {
    const primary = this.#primaryOf(key);
    if (primary?.client !== undefined) this.#gate.watch(primary.client);
    if (primary?.client?.isReady !== false || this.#away.has(primary.address)) return;
    this.#away.set(primary.address, key);
    this.#timer ??= setInterval(() => this.#look(), LOOK_EVERY_MS).unref();
  }

  /** Call it when a command about a key was answered. */
  answered(key: string): void {
    const primary = this.#primaryOf(key);
    if (primary !== undefined) this.#answered.set(primary.address, key);
  }

  #look(): void {
    for (const [address, key] of this.#away) {
      const primary = this.#primaryOf(key);
      if (!this.#client.isOpen || primary?.address !== address || primary.client?.isReady === true) {
        this.#away.delete(address);
      }
    }
    const [key] = this.#away.values();
    if (key === undefined) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      return;
    }
    const live = [...this.#answered.values()].find((other) => this.#primaryOf(other)?.client?.isReady === true);
    if (this.#isLooking || live === undefined) return;
    this.#isLooking = true;
    const done = (): void => {
      this.#isLooking = false;
    };
    // The client follows the redirection as if `live` were the key. So it gives up in the end, and knows the slots.
    this.#gate
      .send((abortSignal) => this.#client.sendCommand(live, false, ['GET', key], { abortSignal }))
      .then(done, done);
  }

  #primaryOf(key: string): NodeRedisNode | undefined {
    return this.#client.slots[calculateSlot(key)]?.master;
  }
}
