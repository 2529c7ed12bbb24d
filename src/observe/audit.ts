import type { AuthenticationDecision } from '../core/authentication-decision.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { badOption, checkOptionNames } from '../core/option.js';
import { isThenable } from '../core/thenable.js';
import { keyHasher } from './key-hash.js';
import { requestPath } from './request-path.js';

/** One decision about credentials. Holds no credential and no part of one. */
export interface AuditRecord {
  /** Epoch milliseconds. */
  readonly at: number;
  readonly outcome: 'allowed' | 'refused' | 'unavailable';
  /** Why: `verified`, `missing`, `unknown`, `expired`, `revoked`, `throttled` and so on. */
  readonly reason: string;
  readonly scheme: string | undefined;
  readonly credentialId: string | undefined;
  /** The credentials under a key: 12 hexadecimal digits, the same for the same credentials. */
  readonly keyHash: string | undefined;
  readonly clientId: string | undefined;
  readonly ip: string | undefined;
  readonly requestId: string | undefined;
  readonly method: string;
  /** Without the query, which may hold what is nobody's business. */
  readonly path: string;
}

/** What `audit` takes. */
export interface AuditOptions {
  /** Gets every record. What it throws, or rejects with, is reported as a fault and changes no answer. */
  readonly sink: (record: AuditRecord) => unknown;
  /** Makes `keyHash` comparable from process to process: at least 32 characters. Default a new key at every start. */
  readonly hashKey?: string;
  /** Default `Date.now`. */
  readonly now?: () => number;
}

/**
 * Records every decision of `authenticate` and `requireScope` that comes after it. Put it before them, and after
 * `requestId` and `clientIp`.
 *
 * ```ts
 * guard(audit({ sink: (record) => logger.info(record, 'auth') }), authenticate(...))
 * ```
 * @throws OptionError
 */
export function audit(options: AuditOptions): Guard {
  checkOptionNames('audit', options, ['sink', 'hashKey', 'now']);
  const { sink, now = Date.now } = options;
  const keyHash = keyHasher('audit', options.hashKey);
  if (typeof sink !== 'function') throw badOption('audit', 'sink', 'must be a function', sink);
  if (typeof now !== 'function') throw badOption('audit', 'now', 'must be a function', now);

  function record(decision: AuthenticationDecision, exchange: Exchange): void {
    const { outcome, reason, scheme, credentialId, clientId, token } = decision;
    const { method, url } = exchange.request;
    try {
      const kept: unknown = sink({
        at: now(),
        outcome,
        reason,
        scheme,
        credentialId,
        keyHash: token === undefined ? undefined : keyHash(token),
        clientId,
        ip: exchange.clientIp?.ip ?? exchange.request.remoteAddress,
        requestId: exchange.requestId,
        method,
        path: requestPath(url),
      });
      if (isThenable(kept)) Promise.resolve(kept).catch((error: unknown) => exchange.fault(error));
    } catch (error) {
      exchange.fault(error);
    }
  }

  return function audit(exchange) {
    const earlier = exchange.authenticationListener;
    exchange.authenticationListener =
      earlier === undefined
        ? record
        : (decision, of) => {
            earlier(decision, of);
            record(decision, of);
          };
    return undefined;
  };
}
