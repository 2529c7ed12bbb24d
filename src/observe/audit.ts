import type { AuthenticationDecision } from '../core/authentication-decision.js';
import { checkExchange } from '../core/check-exchange.js';
import type { AuthenticationListener, Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { inOrder } from '../core/guard-order.js';
import { badOption, boolean, checkOptionNames, clock, type OptionNames } from '../core/option.js';
import { isThenable } from '../core/thenable.js';
import { keyHasher } from './key-hash.js';
import { printable } from './printable.js';
import { requestPath } from './request-path.js';

/**
 * One decision about credentials. It contains no credential and no part of one, and no value contains a line break or
 * another control character.
 */
export interface AuditRecord {
  /** When the decision was made, in epoch milliseconds. */
  readonly at: number;
  /** `unavailable` means that the credentials could not be checked. */
  readonly outcome: 'allowed' | 'refused' | 'unavailable';
  /** The reason, such as `verified`, `missing`, `unknown`, `expired`, `revoked` or `throttled`. */
  readonly reason: string;
  /** The scheme whose credentials were presented. */
  readonly scheme: string | undefined;
  /** The id of the key or token, if it is known. */
  readonly credentialId: string | undefined;
  /** A keyed hash of the credentials: 12 hexadecimal digits. Equal credentials have equal hashes. */
  readonly keyHash: string | undefined;
  /** The id of the client, if it is known. */
  readonly clientId: string | undefined;
  /** The client's address, or the address of the socket without `clientIp`. */
  readonly ip: string | undefined;
  readonly requestId: string | undefined;
  readonly method: string;
  /** Without the query, which may contain secrets. */
  readonly path: string;
  /** The status of the response, with `waitForStatus`. Undefined if the client left before the response was complete. */
  readonly status?: number | undefined;
}

/** The options of `audit`. */
export interface AuditOptions {
  /** Receives every record. If it throws or rejects, a fault is reported and the response does not change. */
  readonly sink: (record: AuditRecord) => unknown;
  /**
   * Whether `sink` is called when the exchange has ended, so that every record has the `status` of the response. If the
   * process stops before that, the record is lost. Default false: `sink` is called at the decision.
   */
  readonly waitForStatus?: boolean | undefined;
  /**
   * The key of `keyHash`, at least 32 characters. Set it to compare hashes of several processes. Default a random
   * key, which `audit` and `accessLog` share.
   */
  readonly hashKey?: string | undefined;
  /** The clock, in epoch milliseconds. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

const DECIDES_LATER = 'audit records the decisions that come after it';
const COMES_BEFORE = { authenticate: DECIDES_LATER, requireScope: DECIDES_LATER };
const OPTIONS: OptionNames<AuditOptions> = { sink: true, waitForStatus: true, hashKey: true, now: true };

/**
 * Records every decision of the `authenticate` and `requireScope` guards that follow it. Put it before them, and after
 * `requestId` and `clientIp`.
 *
 * ```ts
 * guard(audit({ sink: (record) => logger.info(record, 'auth') }), authenticate(...))
 * ```
 * @throws OptionError if there is no sink, for a short hash key, or for any other bad option
 */
export function audit(options: AuditOptions): Guard {
  checkOptionNames('audit', options, OPTIONS);
  const { sink, waitForStatus = false } = options;
  boolean('audit', 'waitForStatus', waitForStatus);
  const now = clock('audit', options.now);
  const keyHash = keyHasher('audit', options.hashKey);
  if (typeof sink !== 'function') throw badOption('audit', 'sink', 'must be a function', sink);

  function recordOf(decision: AuthenticationDecision, exchange: Exchange): AuditRecord {
    const { outcome, reason, scheme, credentialId, clientId, token } = decision;
    const { method, url } = exchange.request;
    return {
      at: now(),
      outcome,
      reason,
      scheme,
      credentialId: printableId(credentialId),
      keyHash: token === undefined ? undefined : keyHash(token),
      clientId: printableId(clientId),
      ip: exchange.clientIp?.ip ?? exchange.request.remoteAddress,
      requestId: exchange.requestId,
      method: printable(method),
      path: printable(requestPath(url)),
    };
  }

  function write(record: AuditRecord, exchange: Exchange): void {
    try {
      const written: unknown = sink(record);
      if (isThenable(written)) Promise.resolve(written).catch((error: unknown) => exchange.fault(error));
    } catch (error) {
      exchange.fault(error);
    }
  }

  /** Receives the decisions of one exchange. */
  function listener(exchange: Exchange): AuthenticationListener {
    if (!waitForStatus)
      return (decision, subject) => guarded(subject, () => write(recordOf(decision, subject), subject));
    // One hook for all records, because hooks run in reverse order.
    const records: AuditRecord[] = [];
    exchange.onEnd((outcome) => {
      const status = outcome.kind === 'aborted' ? undefined : outcome.status;
      for (const record of records) write({ ...record, status }, exchange);
    });
    return (decision, subject) => guarded(subject, () => records.push(recordOf(decision, subject)));
  }

  return inOrder(
    function audit(exchange: Exchange): undefined {
      checkExchange('audit', exchange);
      const earlierListener = exchange.authenticationListener;
      const record = listener(exchange);
      exchange.authenticationListener =
        earlierListener === undefined
          ? record
          : (decision, subject) => {
              earlierListener(decision, subject);
              record(decision, subject);
            };
    },
    { name: 'audit', before: COMES_BEFORE },
  );
}

/** Ids may come from the claims of a token, and so from another service. */
function printableId(id: string | undefined): string | undefined {
  return id === undefined ? undefined : printable(id);
}

/** A clock or an id that fails is a fault, and changes no answer. */
function guarded(exchange: Exchange, run: () => unknown): void {
  try {
    run();
  } catch (error) {
    exchange.fault(error);
  }
}
