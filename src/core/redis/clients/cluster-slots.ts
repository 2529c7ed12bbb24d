/** The client may be asked again after so long, in milliseconds. */
const ASK_AGAIN_MS = 1000;

/** Which server has which slot of a Cluster, for a client that does not say. */
export class ClusterSlots {
  readonly #ask: () => Promise<unknown>;
  /** The last slot of each range, in rising order, and its server. */
  #ranges: readonly { readonly last: number; readonly server: string }[] = [];
  /** By `performance.now()`. */
  #askedAt = Number.NEGATIVE_INFINITY;

  /** `ask` resolves to the reply to `CLUSTER SLOTS`. */
  constructor(ask: () => Promise<unknown>) {
    this.#ask = ask;
    this.mayHaveChanged();
  }

  /** The primary of a slot; undefined while it is not known. */
  serverOf(slot: number): string | undefined {
    return this.#ranges.find(({ last }) => slot <= last)?.server;
  }

  /** Asks in the background. Without an answer, what was known stays: it decides only whose outage an outage is. */
  mayHaveChanged(): void {
    const now = performance.now();
    if (now - this.#askedAt < ASK_AGAIN_MS) return;
    this.#askedAt = now;
    this.#ask().then(
      (reply) => {
        const ranges = Array.isArray(reply) ? reply.flatMap(rangeOf) : [];
        if (ranges.length > 0) this.#ranges = ranges.sort((a, b) => a.last - b.last);
      },
      () => undefined,
    );
  }
}

function rangeOf(range: unknown): { last: number; server: string }[] {
  if (!Array.isArray(range)) return [];
  const [, last, primary] = range;
  return typeof last === 'number' && Array.isArray(primary) ? [{ last, server: `${primary[0]}:${primary[1]}` }] : [];
}
