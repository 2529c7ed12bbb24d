import { hash } from 'node:crypto';
import type { Exchange } from '../core/exchange.js';
import { ignoreRejection } from '../core/thenable.js';
import type { PartitionBy } from './policy.js';
import { type MissingClientIp, socketKeys } from './socket-key.js';

/** Longer keys are replaced by their digest, so that a long header cannot fill the store's memory. */
const MAX_KEY_LENGTH = 128;

/** The part of a counter's name that separates counters of one policy by what they count. */
export function partitionName(by: PartitionBy): string {
  return typeof by === 'function' ? 'custom' : by;
}

/**
 * Returns a function that finds the partition key of an exchange. That function throws if there is no key, since a request
 * that cannot be counted must not pass.
 */
export function partitionKeys(guard: MissingClientIp): (by: PartitionBy, exchange: Exchange) => string {
  const socketKey = socketKeys(guard);
  const addressKey = (exchange: Exchange) =>
    exchange.clientIp === undefined ? socketKey(exchange) : exchange.clientIp.key;
  return (by, exchange) => {
    switch (by) {
      case 'global':
        return 'global';
      case 'principal':
        if (exchange.principal === undefined) throw new Error(NO_PRINCIPAL);
        return storedKey(exchange.principal.id);
      case 'client-ip':
        return addressKey(exchange);
      case 'principal-or-client-ip':
        // The prefixes keep a client whose id is an address apart from that address.
        return exchange.principal === undefined
          ? `client-ip:${addressKey(exchange)}`
          : storedKey(`principal:${exchange.principal.id}`);
      default:
        return storedKey(by(exchange));
    }
  };
}

const NO_PRINCIPAL =
  'gatewarden: limit counts by principal, but there is no principal; put authenticate(...) before limit, without "optional", ' +
  "or count by 'principal-or-client-ip'";

/** A partition key as stores see it. @throws TypeError if it is not a non-empty string */
export function storedKey(key: unknown): string {
  ignoreRejection(key);
  if (typeof key !== 'string' || key === '') {
    throw new TypeError('gatewarden: limit needs a non-empty string as partition key; check what "by" returns');
  }
  // The digest is longer than any key that is stored as it is, so no short key can equal it.
  return key.length <= MAX_KEY_LENGTH ? key : `sha512:${hash('sha512', key, 'hex')}`;
}
