import type { AuthenticationDecision } from '../core/authentication-decision.js';
import { checkExchange } from '../core/check-exchange.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { named } from '../core/guard-name.js';
import { badOption, callback, checkOptionNames, type OptionNames } from '../core/option.js';
import type { Outcome } from '../core/outcome.js';
import { ignoreRejection, isThenable } from '../core/thenable.js';
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

/** The fields that are logged when an exchange begins, with `start`. */
export type AccessLogStartFields = Pick<AccessLogFields, 'requestId' | 'method' | 'path' | 'ip' | 'keyHash' | 'cfRay'>;

/** How an exchange is logged when it begins. */
export interface AccessLogStart {
  /**
   * Returns the credentials of a request that are not checked yet, so that the line on arrival has their `keyHash`. Only the
   * hash is logged. Default: that line has none.
   */
  readonly credentials?: ((exchange: Exchange) => string | undefined) | undefined;
}

/** The options of `accessLog`. */
export interface AccessLogOptions {
  /** Receives one call for each exchange, or two with `start`. */
  readonly logger: Logger;
  /** Returns true for an exchange that is not logged, such as a health check. Default: all are logged. */
  readonly skip?: ((exchange: Exchange) => boolean) | undefined;
  /**
   * Whether to write a line on arrival too, so that a request can be seen while it hangs. Both lines have the same
   * `requestId`. `skip` is then called twice. Default false.
   */
  readonly start?: boolean | AccessLogStart | undefined;
  /**
   * The key of `keyHash`, at least 32 characters. Set it to compare hashes of several processes. Default a random
   * key, which `audit` and `accessLog` share.
   */
  readonly hashKey?: string | undefined;
}

const OPTIONS: OptionNames<AccessLogOptions> = { logger: true, skip: true, start: true, hashKey: true };
const START: OptionNames<AccessLogStart> = { credentials: true };
const LEVELS = ['info', 'warn', 'error'] as const;
const CF_RAY = /^[0-9a-f]{16}-[A-Z]{3}$/;

/**
 * Logs one line for each exchange when it ends: the request, the status, the duration and the client. The level is
 * `error` for a status of 500 or above, `warn` for any other refusal, and otherwise `info`. A logger that fails does not
 * change the response. With `start`, it also logs a line at the level `info` when the exchange begins. Put it first, after
 * `requestId` and `clientIp`.
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
  const start = startOf(options.start);
  const keyHash = keyHasher('accessLog', options.hashKey);

  function isSkipped(exchange: Exchange): boolean {
    const skipped: unknown = skip?.(exchange);
    ignoreRejection(skipped);
    return skipped === true;
  }

  /** What fails is a fault, and changes no response. */
  function logStart(exchange: Exchange, { credentials }: AccessLogStart): void {
    try {
      if (isSkipped(exchange)) return;
      const { request, requestId, clientIp } = exchange;
      const presented: unknown = credentials?.(exchange);
      ignoreRejection(presented);
      const fields: AccessLogStartFields = {
        requestId,
        method: printable(request.method),
        path: printable(requestPath(request.url)),
        ip: clientIp?.key ?? request.remoteAddress,
        keyHash: typeof presented === 'string' && presented !== '' ? keyHash(presented) : undefined,
        cfRay: clientIp?.source === 'cf-connecting-ip' ? rayOf(exchange) : undefined,
      };
      const written = logger.info(fields, `${fields.method} ${fields.path} started`) as unknown;
      if (isThenable(written)) Promise.resolve(written).catch((error: unknown) => exchange.fault(error));
    } catch (error) {
      exchange.fault(error);
    }
  }

  return named('accessLog', (exchange) => {
    checkExchange('accessLog', exchange);
    const startedAt = performance.now();
    const { remoteAddress } = exchange.request;
    if (start !== undefined) logStart(exchange, start);
    let credentials: string | undefined;
    const earlierListener = exchange.authenticationListener;
    exchange.authenticationListener = (decision: AuthenticationDecision, subject) => {
      credentials = decision.token ?? credentials;
      earlierListener?.(decision, subject);
    };
    exchange.onEnd((outcome) => {
      if (isSkipped(exchange)) return undefined;
      const { request, requestId, clientIp, principal } = exchange;
      const fields: AccessLogFields = {
        requestId,
        method: printable(request.method),
        path: printable(requestPath(request.url)),
        status: outcome.kind === 'aborted' ? undefined : outcome.status,
        outcome: outcome.kind,
        code: outcome.kind === 'refused' ? outcome.code : undefined,
        duration: Math.round((performance.now() - startedAt) * 1000) / 1000,
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
  });
}

function startOf(start: AccessLogOptions['start']): AccessLogStart | undefined {
  if (start === undefined || start === false) return undefined;
  if (start === true) return {};
  checkOptionNames('accessLog "start"', start, START);
  callback('accessLog', 'start.credentials', start.credentials);
  return start;
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
