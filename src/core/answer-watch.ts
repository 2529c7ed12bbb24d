import type { Exchange } from './exchange.js';
import type { Outcome } from './outcome.js';

/** What a guard needs to know of an exchange whose answer it remembers. */
export interface AnswerWatch {
  /** The outcome of the last reply that was rendered for the exchange: undefined if only the handler answered. */
  readonly replied: Outcome | undefined;
}

interface Watch {
  replied: Outcome | undefined;
  readonly onSkipped: (() => void)[];
}

const watches = new WeakMap<Exchange, Watch>();
/** Until a guard watches, nothing is looked up. */
let isUsed = false;

/**
 * Watches how an exchange is answered. `onSkipped` is called if the client left before a later guard let the request pass: the
 * handler never runs then.
 */
export function watchAnswer(exchange: Exchange, onSkipped: () => void): AnswerWatch {
  isUsed = true;
  const watch: Watch = watches.get(exchange) ?? { replied: undefined, onSkipped: [] };
  watches.set(exchange, watch);
  watch.onSkipped.push(onSkipped);
  return watch;
}

/** A reply was rendered for the exchange. */
export function noteReply(exchange: Exchange, outcome: Outcome): void {
  const watch = isUsed ? watches.get(exchange) : undefined;
  if (watch !== undefined) watch.replied = outcome;
}

/** The exchange has ended before all guards have run. */
export function noteSkipped(exchange: Exchange): void {
  const watch = isUsed ? watches.get(exchange) : undefined;
  for (const onSkipped of watch?.onSkipped.splice(0) ?? []) onSkipped();
}
