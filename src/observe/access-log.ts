import type { AuthenticationDecision } from '../core/authentication-decision.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { badOption, checkOptionNames } from '../core/option.js';
import type { Outcome } from '../core/outcome.js';
import { ignoreRejection } from '../core/thenable.js';
import { keyHasher } from './key-hash.js';
import { requestPath } from './request-path.js';

/** Of pino's shape: pino itself, and whatever else takes an object and a line. */
export interface Logger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What a line tells of one exchange. Nothing in it holds a line break or another control character. */
export interface AccessLogFields {
  readonly requestId: string | undefined;
  readonly method: string;
  /** Without the query, which may hold what is nobody's business. */
  readonly path: string;
  /** Of the response; absent where the client left before it had all of it. */
  readonly status: number | undefined;
  readonly outcome: Outcome['kind'];
  /** The code of a refusal. */
  readonly code: string | undefined;
  /** Milliseconds. */
  readonly duration: number;
  /** The partition key of the client's address. */
  readonly ip: string | undefined;
  readonly principal: string | undefined;
  /** Stands for the credentials, as in the audit. */
  readonly keyHash: string | undefined;
  /** `CF-Ray`, where the request came through Cloudflare. */
  readonly cfRay: string | undefined;
}

/** What `accessLog` takes. */
export interface AccessLogOptions {
  readonly logger: Logger;
  /** Leaves exchanges out, such as health checks. Default none. */
  readonly skip?: (exchange: Exchange) => boolean;
  /** Makes `keyHash` comparable from process to process: at least 32 characters. Default a new key at every start. */
  readonly hashKey?: string;
}

const LEVELS = ['info', 'warn', 'error'] as const;
const CONTROL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const MAX_LENGTH = 2048;
const CF_RAY = /^[0-9a-f]{16}-[A-Z]{3}$/;

/**
 * Logs one line for each exchange, when it has ended: what was asked, how it was answered, how long it took and who it
 * was. Refusals are warnings, answers from 500 errors. A logger that fails changes no answer. Put it first, after
 * `requestId`.
 *
 * ```ts
 * guard(requestId(), accessLog({ logger: pino(), skip: ({ request }) => request.url === '/health' }))
 * ```
 * @throws OptionError
 */
export function accessLog(options: AccessLogOptions): Guard {
  checkOptionNames('accessLog', options, ['logger', 'skip', 'hashKey']);
  const { logger, skip } = options;
  if (!LEVELS.every((level) => typeof logger?.[level] === 'function')) {
    throw badOption('accessLog', 'logger', 'must have info, warn and error', logger);
  }
  if (skip !== undefined && typeof skip !== 'function')
    throw badOption('accessLog', 'skip', 'must be a function', skip);
  const keyHash = keyHasher('accessLog', options.hashKey);

  return function accessLog(exchange) {
    const start = performance.now();
    const { remoteAddress } = exchange.request;
    let credentials: string | undefined;
    const earlier = exchange.authenticationListener;
    exchange.authenticationListener = (decision: AuthenticationDecision, of) => {
      credentials = decision.token ?? credentials;
      earlier?.(decision, of);
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
      // Given back, so that a promise that fails is a fault and ends nothing.
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

/** What a terminal or a log file could take for the end of a line, or for a command, becomes a question mark. */
function printable(text: string): string {
  return text.slice(0, MAX_LENGTH).replace(CONTROL, '?');
}
