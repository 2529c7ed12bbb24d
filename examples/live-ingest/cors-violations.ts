import type { Guard } from 'gatewarden';
import type { Logger } from '../text-logger.js';

const MAX_LENGTH = 300;

/**
 * Logs a warning for each request from a page that `cors` does not allow to read the response, and for each refused
 * preflight. Put it before `cors`.
 */
export function corsViolations(logger: Logger): Guard {
  return function corsViolations(exchange) {
    const [origin] = exchange.request.fieldLines('origin');
    if (origin === undefined) return undefined;
    exchange.onEnd((outcome) => {
      if (outcome.kind === 'aborted' || exchange.get('Access-Control-Allow-Origin') !== undefined) return;
      const refused = outcome.kind === 'refused' && outcome.code === 'preflight-refused';
      logger.warn(
        { requestId: exchange.requestId, origin: printable(origin), ip: exchange.clientIp?.key },
        `CORS violation: ${refused ? 'preflight refused' : 'origin not allowed'}`,
      );
    });
    return undefined;
  };
}

/** Only the origin: the header may also hold a password, or control characters that a terminal would execute. */
function printable(origin: string): string {
  if (origin === 'null') return origin;
  return URL.canParse(origin) ? new URL(origin).origin.slice(0, MAX_LENGTH) : 'malformed';
}
