import { CircuitBreaker } from './breaker.js';
import type { RedisClient } from './client.js';

/**
 * A circuit breaker for each server. In a Cluster, a node that is away must not cost the requests of the others, and those
 * must not hide that it is away.
 */
export class Circuits {
  readonly #client: RedisClient;
  readonly #probe: (slot: number) => Promise<unknown>;
  readonly #onChange: (open: boolean, error: unknown) => void;
  readonly #onClosed: () => void;
  /** By the server's name. Only of servers that have failed once. */
  readonly #breakers = new Map<string, CircuitBreaker>();
  #open = 0;
  #isStopped = false;

  /**
   * `probe` must settle within a bounded time, and reject while the server of the slot is away. `onChange` is called when
   * the first server goes away, and when the last is back. `onClosed` is called when any of them is back.
   */
  constructor(
    client: RedisClient,
    probe: (slot: number) => Promise<unknown>,
    onChange: (open: boolean, error: unknown) => void,
    onClosed: () => void,
  ) {
    this.#client = client;
    this.#probe = probe;
    this.#onChange = onChange;
    this.#onClosed = onClosed;
  }

  /** Whether the server of a slot is away. */
  isOpen(slot: number): boolean {
    return this.#open > 0 && this.#breakers.get(this.#serverOf(slot))?.open === true;
  }

  /** Whether any server is away. */
  get isAnyOpen(): boolean {
    return this.#open > 0;
  }

  succeeded(slot: number): void {
    if (this.#breakers.size > 0) this.#breakers.get(this.#serverOf(slot))?.succeeded();
  }

  failed(slot: number, error: unknown): void {
    if (this.#isStopped) return;
    const server = this.#serverOf(slot);
    let breaker = this.#breakers.get(server);
    if (breaker === undefined) {
      breaker = new CircuitBreaker(
        () => this.#probe(slot),
        (open, reason) => this.#changed(open, reason),
      );
      this.#breakers.set(server, breaker);
    }
    breaker.failed(error);
  }

  /** Probes all servers that are away, at once. Call it when something suggests that they are back. */
  probeNow(): void {
    for (const breaker of this.#breakers.values()) breaker.probeNow();
  }

  stop(): void {
    this.#isStopped = true;
    for (const breaker of this.#breakers.values()) breaker.stop();
    this.#open = 0;
  }

  #changed(open: boolean, error: unknown): void {
    this.#open += open ? 1 : -1;
    if (!open) this.#onClosed();
    if (this.#open === (open ? 1 : 0)) this.#onChange(open, error);
  }

  /** The primary that a slot belongs to, as far as the client of a Cluster knows. */
  #serverOf(slot: number): string {
    return this.#client.slots?.[slot]?.[0] ?? this.#client.serverOf?.(slot) ?? '';
  }
}
