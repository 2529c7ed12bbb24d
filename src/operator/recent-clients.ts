/** What one client has done since the process started. */
export interface ClientFigures {
  readonly client: string;
  requests: number;
  refused: number;
  errors: number;
  /** Milliseconds. */
  gpuTime: number;
}

const MAX_CLIENTS = 500;

/** The clients that were seen last, for a service without a ledger. */
export class RecentClients {
  /** In the order in which they were last seen. */
  readonly #clients = new Map<string, ClientFigures>();

  of(client: string): ClientFigures {
    const figures = this.#clients.get(client) ?? { client, requests: 0, refused: 0, errors: 0, gpuTime: 0 };
    this.#clients.delete(client);
    this.#clients.set(client, figures);
    if (this.#clients.size > MAX_CLIENTS) this.#clients.delete(this.#clients.keys().next().value as string);
    return figures;
  }

  get size(): number {
    return this.#clients.size;
  }

  /** Those that have used the most GPU time, and then sent the most requests. */
  top(count: number): readonly ClientFigures[] {
    return [...this.#clients.values()].sort((a, b) => b.gpuTime - a.gpuTime || b.requests - a.requests).slice(0, count);
  }
}
