import type { AuthenticationDecision } from '../core/authentication-decision.js';
import { checkExchange } from '../core/check-exchange.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { badOption, callback, checkOptionNames, type OptionNames } from '../core/option.js';
import type { Outcome } from '../core/outcome.js';
import { ignoreRejection } from '../core/thenable.js';
import { keyHasher } from './key-hash.js';
import { printable } from './printable.js';
import { requestPath } from './request-path.js';

/** A logger with pino's interface: each method accepts an object and a message. */
export interface Logger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** The fields that are logged for one exchange. No value contains a line break or another control character. */
export interface AccessLogFields {
  readonly requestId: string | undefined;
  readonly method: string;
  /** Without the query, which may contain secrets. */
  readonly path: string;
  /** The status of the response. Undefined if the client left before the response was complete. */
  readonly status: number | undefined;
  readonly outcome: Outcome['kind'];
  /** The problem code, if a guard refused. */
  readonly code: string | undefined;
  /** From this guard to the end of the exchange, in milliseconds. */
  readonly duration: number;
  /** The partition key of the client's address, or the address of the socket without `clientIp`. */
  readonly ip: string | undefined;
  /** The id of the principal. */
  readonly principal: string | undefined;
  /** A keyed hash of the credentials, as in `AuditRecord`. */
  readonly keyHash: string | undefined;
  /** `CF-Ray`, if the request came through Cloudflare. */
  readonly cfRay: string | undefined;
}

/** The options of `accessLog`. */
export interface AccessLogOptions {
  /** Receives one call for each exchange. */
  readonly logger: Logger;
  /** Returns true for an exchange that is not logged, such as a health check. Default: all are logged. */
  readonly skip?: ((exchange: Exchange) => boolean) | undefined;
  /**
   * The key of `keyHash`, at least 32 characters. Set it to compare hashes of several processes. Default a random key.
   */
  readonly hashKey?: string | undefined;
}

const OPTIONS: OptionNames<AccessLogOptions> = { logger: true, skip: true, hashKey: true };
const LEVELS = ['info', 'warn', 'error'] as const;
const CF_RAY = /^[0-9a-f]{16}-[A-Z]{3}$/;

/**
 * Logs one line for each exchange when it ends: the request, the status, the duration and the client. The level is
 * `error` for a status of 500 or above, `warn` for any other refusal, and otherwise `info`. A logger that fails does not
 * change the response. Put it first, after `requestId`.
 *
 * ```ts
 * guard(requestId(), accessLog({ logger: pino(), skip: ({ request }) => request.url === '/health' }))
 * ```
 * @throws OptionError for a logger without the three methods, a short hash key, or any other bad option
 */
export function accessLog(options: AccessLogOptions): Guard {
  checkOptionNames('accessLog', options, OPTIONS);
  const { logger, skip } = options;
  if (!LEVELS.every((level) => typeof logger?.[level] === 'function')) {
    throw badOption(
      'accessLog',
      'logger',
      'must have the methods info, warn and error',
      logger,
      'pass pino() or console',
    );
  }
  callback('accessLog', 'skip', skip);
  const keyHash = keyHasher('accessLog', options.hashKey);

  return function accessLog(exchange) {
    checkExchange('accessLog', exchange);
    const start = performance.now();
    const { remoteAddress } = exchange.request;
    let credentials: string | undefined;
    const earlierListener = exchange.authenticationListener;
    exchange.authenticationListener = (decision: AuthenticationDecision, subject) => {
      credentials = decision.token ?? credentials;
      earlierListener?.(decision, subject);
    };
    exchange.onEnd((outcome) => {
      const skipped: unknown = skip?.(exchange);
      ignoreRejection(skipped);
      if (skipped === true) return undefined;
      const { request, requestId, clientIp, principal } = exchange;
      const fields: AccessLogFields = {
        requestId,
        method: printable(request.method),
        path: printable(requestPath(request.url)),
        status: outcome.kind === 'aborted' ? undefined : outcome.status,
        outcome: outcome.kind,
        code: outcome.kind === 'refused' ? outcome.code : undefined,
        duration: Math.round((performance.now() - start) * 1000) / 1000,
        ip: clientIp?.key ?? remoteAddress,
        principal: principal === undefined ? undefined : printable(principal.id),
        keyHash: credentials === undefined ? undefined : keyHash(credentials),
        cfRay: clientIp?.source === 'cf-connecting-ip' ? rayOf(exchange) : undefined,
      };
      const { method, path, status } = fields;
      // Returned so that a rejected promise of the logger is reported as a fault.
      return logger[levelOf(outcome)](fields, `${method} ${path} ${status ?? 'aborted'}`) as unknown;
    });
    return undefined;
  };
}

function levelOf(outcome: Outcome): (typeof LEVELS)[number] {
  if (outcome.kind === 'aborted') return 'info';
  if (outcome.status >= 500) return 'error';
  return outcome.kind === 'refused' && outcome.status >= 400 ? 'warn' : 'info';
}

function rayOf({ request }: Exchange): string | undefined {
  const lines = request.fieldLines('cf-ray');
  const [ray] = lines;
  return lines.length === 1 && ray !== undefined && CF_RAY.test(ray) ? ray : undefined;
}
