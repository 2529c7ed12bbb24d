import { hash } from 'node:crypto';
import type { Exchange } from '../core/exchange.js';
import { principalOf } from '../core/principal.js';
import { ignoreRejection } from '../core/thenable.js';
import type { PartitionBy } from './policy.js';

/** Longer keys are replaced by their digest: nobody shall fill the store's memory with one long header. */
const MAX_KEY_LENGTH = 128;

/** Keeps counters of one name apart that are counted by different things. */
export function partitionName(by: PartitionBy): string {
  return typeof by === 'function' ? 'custom' : by;
}

/**
 * The partition key of an exchange.
 * @throws where nothing before this guard has found out what is asked for: a request without a key must not pass
 */
export function partitionKey(by: PartitionBy, exchange: Exchange): string {
  switch (by) {
    case 'global':
      return 'global';
    case 'principal':
      return storedKey(principalOf(exchange).id);
    case 'client-ip':
      if (exchange.clientIp === undefined) {
        throw new Error('gatewarden: limit by "client-ip" needs clientIp(...) before it');
      }
      return exchange.clientIp.key;
    default:
      return storedKey(by(exchange));
  }
}

/** A partition key as stores see it. */
export function storedKey(key: unknown): string {
  ignoreRejection(key);
  if (typeof key !== 'string' || key === '') {
    throw new TypeError('gatewarden: limit needs a non-empty string as partition key');
  }
  // Longer than any key that stands for itself, so that none can be made to equal it.
  return key.length <= MAX_KEY_LENGTH ? key : `sha512:${hash('sha512', key, 'hex')}`;
}
