import { badSecret, checkOptionNames, OptionError } from '../../core/option.js';
import { acceptedKeys } from './accepted-key.js';
import { isWeak, plainKeyDigest, warnOfWeakKeys } from './api-key-record.js';
import { keyDigest } from './key-digest.js';
import { DEFAULT_PREFIX } from './key-format.js';
import type { ApiKeyRecord } from './record.js';

/** What `parseApiKeys` takes beside the text. */
export interface ParseApiKeysOptions {
  /** Under which name the limit stands in `principal.limits`. Default `perHour`. */
  readonly limitName?: string;
  /** That of the `apiKeys` which gets the records. Default none. */
  readonly pepper?: string;
}

const FACTORY = 'parseApiKeys';
const LIMIT = /^[1-9]\d{0,14}$/;

/**
 * Reads keys from one setting: `key:client:limit`, parted by commas, white space around an item being nothing. A client
 * may stand there twice, with its old and its new key and the same limit: that is one record. Keys under 16 characters
 * are taken with a warning.
 *
 * ```ts
 * const keys = parseApiKeys(process.env.API_KEYS ?? '') // key1:client1:100,key2:client2:50
 * guard(authenticate(apiKeys({ keys }))) // principal.limits is { perHour: 100 }
 * ```
 * @throws OptionError that names the item by its index from 0, and shows nothing of it
 */
export function parseApiKeys(text: string, options: ParseApiKeysOptions = {}): readonly ApiKeyRecord[] {
  checkOptionNames(FACTORY, options, ['limitName', 'pepper']);
  const { limitName = 'perHour', pepper } = options;
  if (typeof text !== 'string')
    throw new OptionError(`gatewarden: ${FACTORY} takes key:client:limit, parted by commas`);
  if (typeof limitName !== 'string' || limitName === '') {
    throw badSecret(FACTORY, 'limitName', 'must be a non-empty string');
  }
  const digestOf = keyDigest(FACTORY, pepper);
  const clients = new Map<string, { readonly limit: number; readonly digests: string[] }>();
  const seen = new Map<string, number>();
  const weak: string[] = [];

  text.split(',').forEach((item, index) => {
    const option = `keys[${index}]`;
    const { key, clientId, limit } = parts(option, item.trim());
    const digest = plainKeyDigest(FACTORY, option, key, digestOf, DEFAULT_PREFIX);
    const earlier = seen.get(digest);
    if (earlier !== undefined) throw badSecret(FACTORY, option, `has the key of keys[${earlier}]`);
    if (clientId === key) throw badSecret(FACTORY, option, 'must not have the key as its client');
    seen.set(digest, index);
    if (isWeak(key)) weak.push(option);
    const client = clients.get(clientId) ?? { limit, digests: [] };
    if (client.limit !== limit) throw badSecret(FACTORY, option, 'gives its client another limit than an item before');
    client.digests.push(digest);
    clients.set(clientId, client);
    // Here, where the item's index is still known.
    acceptedKeys(FACTORY, option, recordOf(clientId, [digest], limitName, limit));
  });
  warnOfWeakKeys(FACTORY, weak);
  return [...clients].map(([clientId, { digests, limit }]) => recordOf(clientId, digests, limitName, limit));
}

function parts(option: string, item: string): { key: string; clientId: string; limit: number } {
  if (item === '') throw badSecret(FACTORY, option, 'is empty');
  const [key, clientId, limit, more] = item.split(':');
  if (key === undefined || clientId === undefined || limit === undefined || more !== undefined) {
    throw badSecret(FACTORY, option, 'must have three parts, key:client:limit');
  }
  if (key === '') throw badSecret(FACTORY, option, 'has an empty key');
  if (clientId === '') throw badSecret(FACTORY, option, 'has an empty client');
  if (!LIMIT.test(limit)) throw badSecret(FACTORY, option, 'must have a positive whole number as its limit');
  return { key, clientId, limit: Number(limit) };
}

function recordOf(clientId: string, digests: readonly string[], limitName: string, limit: number): ApiKeyRecord {
  return {
    id: clientId,
    clientId,
    digests: digests.map((digest) => ({ digest })),
    limits: { [limitName]: limit },
  };
}
