/** Failures in a row after which the store is not asked any more. One may be a hiccup. */
const FAILURES = 2;
/** How often an open breaker looks whether the store is back, in milliseconds. */
const PROBE_MS = 200;

/**
 * Keeps an outage from costing every request the full deadline. Closed, it lets everything through; after two failures
 * in a row it opens, answers at once, and probes in the background until the store is back.
 */
export class CircuitBreaker {
  readonly #probe: () => Promise<unknown>;
  readonly #onChange: (open: boolean, error: unknown) => void;
  #failures = 0;
  #open = false;
  #stopped = false;
  #probing = false;
  #timer: NodeJS.Timeout | undefined;

  /** `probe` rejects, within a bounded time, while the store is away. */
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
    if (this.#open || this.#stopped || ++this.#failures < FAILURES) return;
    this.#open = true;
    this.#onChange(true, error);
    this.#schedule();
  }

  /** Looks at once, where something says that the store may be back. */
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
    this.#timer = setTimeout(() => this.probeNow(), PROBE_MS).unref();
  }
}
