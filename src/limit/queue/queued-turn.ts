import type { Exchange } from '../../core/exchange.js';
import type { Ticket, TurnResult } from './waiting-queue.js';

/** The ticket of an exchange. If the exchange ends while it waits, the ticket is given back at once. */
export class QueuedTurn {
  readonly ticket: Ticket;
  readonly #exchange: Exchange;
  /** Ends the present wait. */
  #leave: (() => void) | undefined;
  #isWatched = false;

  constructor(exchange: Exchange, ticket: Ticket) {
    this.#exchange = exchange;
    this.ticket = ticket;
  }

  /** Waits for the turn, or for the end of the exchange. */
  async next(): Promise<TurnResult | { readonly kind: 'gone' }> {
    const ended = new Promise<'gone'>((resolve) => {
      this.#leave = () => {
        this.ticket.leave();
        resolve('gone');
      };
    });
    this.#watch();
    try {
      const result = await Promise.race([this.ticket.turn(), ended]);
      return result === 'gone' ? { kind: 'gone' } : result;
    } finally {
      this.#leave = undefined;
    }
  }

  #watch(): void {
    if (this.#isWatched) {
      if (this.#exchange.outcome !== undefined) this.#leave?.();
      return;
    }
    this.#isWatched = true;
    this.#exchange.onEnd(() => this.#leave?.());
  }
}
