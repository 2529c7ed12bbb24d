import type { Exchange } from '../core/exchange.js';
import { warn } from '../core/warning.js';

let hasWarned = false;

/**
 * Warns once if a guard that `cors` must precede has let the request pass, in an earlier `guard(...)` call. The order within
 * one call is checked when the service starts. Several calls only meet in a request.
 */
export function warnIfTooLate({ principal, admission, upload }: Exchange): void {
  if (hasWarned || (principal === undefined && admission === undefined && upload === undefined)) return;
  hasWarned = true;
  warn(
    'cors(...) came after authenticate(...), limit(...) or upload(...) on a request. Browsers send preflights without ' +
      'credentials, and pages cannot read a refusal without CORS headers. Put guard(cors(...)) before these guards',
    { code: 'GATEWARDEN_CORS_ORDER' },
  );
}
