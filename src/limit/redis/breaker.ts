/** How many failures in a row open the breaker. A single one may be a hiccup. */
const MAX_FAILURES = 2;
/** How often an open breaker probes the store, in milliseconds. */
const PROBE_INTERVAL_MS = 200;

/**
 * Keeps an outage from costing every request the full timeout. A closed breaker lets every request through. After two
 * failures in a row it opens: requests no longer wait, and a probe in the background finds out when the store is back.
 */
export class CircuitBreaker {
  readonly #probe: () => Promise<unknown>;
  readonly #onChange: (open: boolean, error: unknown) => void;
  #failures = 0;
  #open = false;
  #stopped = false;
  #probing = false;
  #timer: NodeJS.Timeout | undefined;

  /** `probe` must settle within a bounded time, and reject while the store is away. */
  constructor(probe: () => Promise<unknown>, onChange: (open: boolean, error: unknown) => void) {
    this.#probe = probe;
    this.#onChange = onChange;
  }

  get open(): boolean {
    return this.#open;
  }

  succeeded(): void {
    this.#failures = 0;
    if (this.#open) this.#close();
  }

  failed(error: unknown): void {
    if (this.#open || this.#stopped || ++this.#failures < MAX_FAILURES) return;
    this.#open = true;
    this.#onChange(true, error);
    this.#schedule();
  }

  /** Probes an open breaker's store at once. Call it when something suggests that the store is back. */
  probeNow(): void {
    if (!this.#open || this.#probing) return;
    clearTimeout(this.#timer);
    this.#probing = true;
    this.#probe().then(
      () => {
        this.#probing = false;
        if (this.#open) this.#close();
      },
      () => {
        this.#probing = false;
        if (this.#open) this.#schedule();
      },
    );
  }

  stop(): void {
    this.#stopped = true;
    this.#open = false;
    clearTimeout(this.#timer);
  }

  #close(): void {
    this.#open = false;
    this.#failures = 0;
    clearTimeout(this.#timer);
    this.#onChange(false, undefined);
  }

  #schedule(): void {
    this.#timer = setTimeout(() => this.probeNow(), PROBE_INTERVAL_MS).unref();
  }
}
