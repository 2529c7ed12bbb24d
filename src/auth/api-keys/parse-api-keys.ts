import { badSecret, checkOptionNames, text as nonEmptyText, OptionError, type OptionNames } from '../../core/option.js';
import { acceptedKeys } from './accepted-key.js';
import { isWeak, plainKeyDigest, warnOfWeakKeys } from './api-key-record.js';
import { keyDigest } from './key-digest.js';
import { DEFAULT_PREFIX } from './key-format.js';
import type { ApiKeyRecord } from './record.js';

/** Options of `parseApiKeys`. */
export interface ParseApiKeysOptions {
  /** The name of the limit in `principal.limits`. Default `perHour`. */
  readonly limitName?: string | undefined;
  /** The same pepper as in the `apiKeys` that uses the records. Default none. */
  readonly pepper?: string;
}

const FACTORY = 'parseApiKeys';
const OPTIONS: OptionNames<ParseApiKeysOptions> = { limitName: true, pepper: true };
const LIMIT = /^[1-9]\d{0,14}$/;

/**
 * Reads API keys from one setting: `key:client:limit` items, separated by commas. White space around an item is
 * ignored. A client may appear twice, with an old and a new key and the same limit; both keys are then in one record.
 * For keys of under 16 characters, the warning `GATEWARDEN_WEAK_API_KEY` is emitted.
 *
 * ```ts
 * const keys = parseApiKeys(process.env.API_KEYS) // key1:client1:100,key2:client2:50
 * guard(authenticate(apiKeys({ keys }))) // principal.limits is { perHour: 100 }
 * ```
 * @throws OptionError if the setting is missing or an item is malformed. The message names the item by its index, from
 * 0, and never shows it.
 */
export function parseApiKeys(text: string | undefined, options: ParseApiKeysOptions = {}): readonly ApiKeyRecord[] {
  checkOptionNames(FACTORY, options, OPTIONS);
  const { limitName = 'perHour', pepper } = options;
  if (text === undefined) {
    throw new OptionError(
      `gatewarden: ${FACTORY}: no API keys are set; set them as key:client:limit, separated by commas`,
    );
  }
  if (typeof text !== 'string') {
    throw new OptionError(`gatewarden: ${FACTORY} accepts a string of key:client:limit items, separated by commas`);
  }
  nonEmptyText(FACTORY, 'limitName', limitName);
  const digestOf = keyDigest(FACTORY, pepper);
  const clients = new Map<string, { readonly limit: number; readonly digests: string[] }>();
  const indexByDigest = new Map<string, number>();
  const weak: string[] = [];

  text.split(',').forEach((item, index) => {
    const option = `keys[${index}]`;
    const { key, clientId, limit } = parseItem(option, item.trim());
    const digest = plainKeyDigest(FACTORY, option, key, digestOf, DEFAULT_PREFIX);
    const earlier = indexByDigest.get(digest);
    if (earlier !== undefined) throw badSecret(FACTORY, option, `has the same key as keys[${earlier}]`);
    if (clientId === key) throw badSecret(FACTORY, option, 'must not have the key as its client');
    indexByDigest.set(digest, index);
    if (isWeak(key)) weak.push(option);
    const client = clients.get(clientId) ?? { limit, digests: [] };
    if (client.limit !== limit) {
      throw badSecret(FACTORY, option, 'has another limit than an earlier item of the same client');
    }
    client.digests.push(digest);
    clients.set(clientId, client);
    // Checked here, so that the message can name the item.
    acceptedKeys(FACTORY, option, recordOf(clientId, [digest], limitName, limit));
  });
  warnOfWeakKeys(FACTORY, weak);
  return [...clients].map(([clientId, { digests, limit }]) => recordOf(clientId, digests, limitName, limit));
}

function parseItem(option: string, item: string): { key: string; clientId: string; limit: number } {
  if (item === '') throw badSecret(FACTORY, option, 'is empty; it must be key:client:limit');
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
