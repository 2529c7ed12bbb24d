import type { Outcome } from './outcome.js';
import type { RequestView } from './request-view.js';
import { warn } from './warning.js';

/** What is watched of the exchange of a preflight. */
interface WatchedExchange {
  readonly request: RequestView;
  /** Set by `cors`. */
  readonly hasPassedCors: boolean;
  get(name: string): string | undefined;
  onEnd(hook: (outcome: Outcome) => void): void;
}

/** Refusals of the guards that must come after `cors`. */
const AFTER_CORS = /^(?:credentials|authentication|scope|quota|store|upload)-/;

let corsExists = false;
let hasWarned = false;

/** Called by `cors`: from now on, preflights are expected to reach it. */
export function expectPreflights(): void {
  corsExists = true;
}

/** Whether a browser asks with this request if a page may send another one (Fetch standard, "CORS-preflight request"). */
export function isPreflight(request: RequestView): boolean {
  return (
    request.method === 'OPTIONS' &&
    request.fieldLines('origin').length > 0 &&
    request.fieldLines('access-control-request-method').length > 0
  );
}

/**
 * Warns once if a preflight has been answered without `cors`, although the service has such a guard: it is on a route
 * that does not see OPTIONS, or behind a guard that refuses. The page only sees that its request was blocked.
 */
export function watchPreflight(exchange: WatchedExchange): void {
  if (!corsExists || hasWarned || !isPreflight(exchange.request)) return;
  exchange.onEnd((outcome) => {
    if (hasWarned || exchange.hasPassedCors || outcome.kind === 'aborted') return;
    if (outcome.kind === 'refused' && !AFTER_CORS.test(outcome.code ?? '')) return;
    // Something else answers preflights here.
    if (exchange.get('Access-Control-Allow-Origin') !== undefined) return;
    hasWarned = true;
    warn(
      `a CORS preflight was answered with ${outcome.status} and never reached cors(...), so browsers block the request ` +
        'of the page. Put guard(cors(...)) on the whole application, before the guards that refuse: a route for GET or ' +
        'POST does not see OPTIONS',
      { code: 'GATEWARDEN_PREFLIGHT_UNANSWERED' },
    );
  });
}
