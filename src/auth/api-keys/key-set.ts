import { badSecret } from '../../core/option.js';
import { type AcceptedKey, acceptedKeys } from './accepted-key.js';
import { isWeak, plainKeyDigest, warnOfWeakKeys } from './api-key-record.js';
import type { KeyDigest } from './key-digest.js';
import type { ApiKeyRow } from './record.js';

const FACTORY = 'apiKeys';
/** The client of all keys in plain text. */
const PLAIN_CLIENT = 'api-key';
const ID_OF_ITS_OWN = 'give each record an "id" of its own; records of one client have the same "clientId"';

/**
 * All keys of a list by their digest.
 * @throws OptionError that names the position in the list and never shows a key
 */
export function keySet(
  entries: readonly (string | undefined | ApiKeyRow)[],
  digestOf: KeyDigest,
  prefix: string,
): ReadonlyMap<string, AcceptedKey> {
  if (!Array.isArray(entries) || entries.length === 0) {
    throw badSecret(
      FACTORY,
      'keys',
      'must be a list of at least one key or record, such as one from `npx gatewarden keygen`',
    );
  }
  const keys = new Map<string, AcceptedKey>();
  const indexByDigest = new Map<string, number>();
  const indexById = new Map<string, number>();
  const weak: string[] = [];
  for (const [index, entry] of (entries as readonly (string | undefined | ApiKeyRow)[]).entries()) {
    const option = `keys[${index}]`;
    const isPlain = typeof entry === 'string' || entry === undefined;
    const record = isPlain ? plainRecord(option, entry, index, digestOf, prefix) : entry;
    if (typeof entry === 'string' && isWeak(entry)) weak.push(option);
    for (const key of acceptedKeys(FACTORY, option, record)) {
      const other = indexByDigest.get(key.digest);
      // A shared key would leave open which client a request is from.
      if (other !== undefined) throw badSecret(FACTORY, option, `has the same key as keys[${other}]`);
      indexByDigest.set(key.digest, index);
      keys.set(key.digest, key);
    }
    const namesake = indexById.get(record.id);
    if (namesake !== undefined)
      throw badSecret(FACTORY, `${option}.id`, `must not be the id of keys[${namesake}]; ${ID_OF_ITS_OWN}`);
    indexById.set(record.id, index);
  }
  warnOfWeakKeys(FACTORY, weak);
  return keys;
}

function plainRecord(
  option: string,
  key: string | undefined,
  index: number,
  digestOf: KeyDigest,
  prefix: string,
): ApiKeyRow {
  const digest = plainKeyDigest(FACTORY, option, key, digestOf, prefix);
  return { id: `key-${index + 1}`, clientId: PLAIN_CLIENT, digests: [{ digest }] };
}
