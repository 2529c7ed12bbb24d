import { badOption, badSecret } from '../core/option.js';
import type { Principal } from '../core/principal.js';
import { type Time, time } from '../core/time.js';
import { invalid, type Verdict } from './authenticator.js';
import { digestBytes, digestOf, equalDigests } from './digest.js';
import { scopeList } from './scope.js';

/** A secret with an end, or a name for the audit. */
export interface SharedSecretEntry {
  readonly secret: string;
  /** Names the secret in `principal.credentialId`. Default `secret-1`, `secret-2` and so on. */
  readonly id?: string;
  /** From this moment on the secret is refused. Default never. */
  readonly expiresAt?: Time;
}

/** How one scheme takes its secrets, and whom they stand for. */
export interface SecretSetOptions {
  readonly factory: string;
  /** The option that lists the secrets. */
  readonly option: string;
  readonly scheme: string;
  readonly clientId: string;
  readonly scopes: readonly string[];
  readonly minLength: number;
  /** What a secret may consist of, and how that is said. */
  readonly form: RegExp;
  readonly formRule: string;
  readonly now: () => number;
}

interface AcceptedSecret {
  readonly text: string;
  readonly digest: Buffer;
  readonly expiresAt: number;
  readonly accepted: Verdict;
  readonly expired: Verdict;
}

const ENTRY_NAMES: readonly string[] = ['secret', 'id', 'expiresAt'];
const UNKNOWN = invalid('unknown');

/**
 * Verifies a token against each of a few secrets, in constant time, over digests of one length.
 * @throws OptionError
 */
export function secretSet(
  secrets: readonly (string | SharedSecretEntry)[],
  options: SecretSetOptions,
): (token: string) => Verdict {
  const { factory, option, clientId, scopes, now } = options;
  if (!Array.isArray(secrets) || secrets.length === 0) {
    throw badSecret(factory, option, 'must be a list of at least one secret');
  }
  if (typeof clientId !== 'string' || clientId === '') {
    throw badOption(factory, 'clientId', 'must be a non-empty string', clientId);
  }
  scopeList(factory, 'scopes', scopes);
  if (typeof now !== 'function') throw badOption(factory, 'now', 'must be a function', now);
  const accepted = secrets.map((entry, i) => acceptedSecret(entry, i, options));
  const digests = new Set(accepted.map(({ text }) => text));
  if (digests.size < accepted.length) throw badSecret(factory, option, 'must not list a secret twice');

  return function verify(token) {
    const digest = digestOf(token);
    let found: AcceptedSecret | undefined;
    for (const candidate of accepted) if (equalDigests(digest, candidate.digest)) found = candidate;
    if (found === undefined) return UNKNOWN;
    // Asked this way round, a clock that gives NaN refuses.
    return now() < found.expiresAt ? found.accepted : found.expired;
  };
}

function acceptedSecret(entry: string | SharedSecretEntry, index: number, options: SecretSetOptions): AcceptedSecret {
  const { factory, scheme, clientId, scopes, minLength, form, formRule } = options;
  const option = `${options.option}[${index}]`;
  const {
    secret,
    id = `secret-${index + 1}`,
    expiresAt,
  }: SharedSecretEntry = typeof entry === 'string' || entry === null || typeof entry !== 'object'
    ? { secret: entry }
    : entry;
  if (typeof entry === 'object' && entry !== null && Object.keys(entry).some((name) => !ENTRY_NAMES.includes(name))) {
    // A misspelt `expiresAt` would keep an old secret alive for ever.
    throw badSecret(factory, option, `knows only ${ENTRY_NAMES.join(', ')}`);
  }
  if (typeof secret !== 'string' || secret.length < minLength) {
    throw badSecret(factory, option, `must be a string of at least ${minLength} characters`);
  }
  if (!form.test(secret)) throw badSecret(factory, option, formRule);
  if (clientId === secret) throw badSecret(factory, 'clientId', 'must not be a secret');
  if (typeof id !== 'string' || id === '' || id === secret) {
    throw badSecret(factory, `${option}.id`, 'must be a non-empty string, and not the secret');
  }
  const text = digestOf(secret);
  const ends = expiresAt === undefined ? {} : { expiresAt: time(factory, `${option}.expiresAt`, expiresAt) };
  const principal: Principal = Object.freeze({
    id: clientId,
    scheme,
    scopes: Object.freeze([...scopes]),
    credentialId: id,
    ...ends,
  });
  return {
    text,
    digest: digestBytes(text),
    expiresAt: ends.expiresAt ?? Number.POSITIVE_INFINITY,
    accepted: Object.freeze({ kind: 'authenticated', principal }),
    expired: invalid('expired', { credentialId: id, clientId }),
  };
}
