import { badSecret } from '../../core/option.js';
import { type AcceptedKey, acceptedKeys } from './accepted-key.js';
import { isWeak, plainKeyDigest, warnOfWeakKeys } from './api-key-record.js';
import type { KeyDigest } from './key-digest.js';
import type { ApiKeyRecord } from './record.js';

const FACTORY = 'apiKeys';
/** The client of keys that stand there as plain text. */
const PLAIN_CLIENT = 'api-key';

/**
 * All keys of a list by their digest.
 * @throws OptionError that tells the place in the list and nothing of a key
 */
export function keySet(
  records: readonly (string | ApiKeyRecord)[],
  digestOf: KeyDigest,
  prefix: string,
): ReadonlyMap<string, AcceptedKey> {
  if (!Array.isArray(records) || records.length === 0) {
    throw badSecret(FACTORY, 'keys', 'must be a list of at least one key or record');
  }
  const set = new Map<string, AcceptedKey>();
  const places = new Map<string, number>();
  const ids = new Map<string, number>();
  const weak: string[] = [];
  for (const [index, entry] of records.entries()) {
    const option = `keys[${index}]`;
    const record = typeof entry === 'string' ? plainRecord(option, entry, index, digestOf, prefix) : entry;
    if (typeof entry === 'string' && isWeak(entry)) weak.push(option);
    for (const key of acceptedKeys(FACTORY, option, record)) {
      const other = places.get(key.digest);
      // Whose would the request be?
      if (other !== undefined) throw badSecret(FACTORY, option, `has a key of keys[${other}]`);
      places.set(key.digest, index);
      set.set(key.digest, key);
    }
    const namesake = ids.get(record.id);
    if (namesake !== undefined) throw badSecret(FACTORY, `${option}.id`, `must not be that of keys[${namesake}]`);
    ids.set(record.id, index);
  }
  warnOfWeakKeys(FACTORY, weak);
  return set;
}

function plainRecord(option: string, key: string, index: number, digestOf: KeyDigest, prefix: string): ApiKeyRecord {
  const digest = plainKeyDigest(FACTORY, option, key, digestOf, prefix);
  return { id: `key-${index + 1}`, clientId: PLAIN_CLIENT, digests: [{ digest }] };
}
