import { badSecret, clock, type OptionNames, text } from '../core/option.js';
import type { Principal } from '../core/principal.js';
import { type Time, time } from '../core/time.js';
import { invalid, type Verdict } from './authenticator.js';
import { digestBytes, digestOf, equalDigests } from './digest.js';
import { checkEntryMembers } from './entry-members.js';
import { scopeList } from './scope.js';
import { checkSecret, SECRET_RECIPE } from './secret.js';

/**
 * A secret with an expiry time, or a name for the audit.
 *
 * ```ts
 * sharedSecret({ secrets: [current, { secret: earlier, id: 'before-june', expiresAt: '2026-06-01T00:00:00Z' }] })
 * ```
 */
export interface SharedSecretEntry {
  /** The secret. An `undefined` value, of an environment variable that is not set, is an `OptionError`. */
  readonly secret: string | undefined;
  /** `principal.credentialId` and the name in the audit. Default `secret-1`, `secret-2` and so on. */
  readonly id?: string | undefined;
  /** The secret is refused from this time on. Default never. */
  readonly expiresAt?: Time;
}

/** Secrets as an option lists them. An `undefined` item is an `OptionError`. */
export type SecretList = readonly (string | undefined | SharedSecretEntry)[];

/** The form of one scheme's secrets, and the principal that they authenticate. */
export interface SecretSetOptions {
  readonly factory: string;
  /** The name of the option that lists the secrets. */
  readonly option: string;
  readonly scheme: string;
  readonly clientId: string;
  readonly scopes: readonly string[] | undefined;
  readonly minLength: number;
  /** The characters of a secret, as a pattern and as an error message. */
  readonly form: RegExp;
  readonly formRule: string;
  readonly now: (() => number) | undefined;
}

interface AcceptedSecret {
  readonly hex: string;
  readonly digest: Buffer;
  readonly expiresAt: number;
  readonly accepted: Verdict;
  readonly expired: Verdict;
}

const ENTRY_MEMBERS: OptionNames<SharedSecretEntry> = { secret: true, id: true, expiresAt: true };
const UNKNOWN = invalid('unknown');

/**
 * Verifies a token against each of a few secrets in constant time, by comparing digests of equal length.
 * @throws OptionError
 */
export function secretSet(secrets: SecretList, options: SecretSetOptions): (token: string) => Verdict {
  const { factory, option } = options;
  if (!Array.isArray(secrets) || secrets.length === 0) {
    throw badSecret(factory, option, `must be a list of at least one secret, ${SECRET_RECIPE}`);
  }
  text(factory, 'clientId', options.clientId);
  const scopes = scopeList(factory, 'scopes', options.scopes);
  const now = clock(factory, options.now);
  const accepted = secrets.map((entry, i) => acceptedSecret(entry, i, scopes, options));
  const digests = new Set(accepted.map(({ hex }) => hex));
  if (digests.size < accepted.length) throw badSecret(factory, option, 'must not list a secret twice');

  return function verify(token) {
    const digest = digestOf(token);
    let match: AcceptedSecret | undefined;
    // No early return: the time must not depend on which secret matches.
    for (const candidate of accepted) if (equalDigests(digest, candidate.digest)) match = candidate;
    if (match === undefined) return UNKNOWN;
    // Written so that NaN refuses.
    return now() < match.expiresAt ? match.accepted : match.expired;
  };
}

function acceptedSecret(
  item: string | undefined | SharedSecretEntry,
  index: number,
  scopes: readonly string[],
  options: SecretSetOptions,
): AcceptedSecret {
  const { factory, scheme, clientId, minLength, form, formRule } = options;
  const option = `${options.option}[${index}]`;
  const entry: SharedSecretEntry = typeof item === 'object' && item !== null ? item : { secret: item };
  checkEntryMembers(factory, option, entry, ENTRY_MEMBERS);
  const secret = checkSecret(factory, option, entry.secret, minLength);
  if (!form.test(secret)) throw badSecret(factory, option, formRule);
  if (clientId === secret) throw badSecret(factory, 'clientId', 'must not be a secret');
  const { id = `secret-${index + 1}` } = entry;
  if (typeof id !== 'string' || id === '' || id === secret) {
    throw badSecret(factory, `${option}.id`, 'must be a non-empty string, and not the secret');
  }
  const expiresAt = time(factory, `${option}.expiresAt`, entry.expiresAt);
  const principal: Principal = Object.freeze({
    id: clientId,
    scheme,
    scopes,
    credentialId: id,
    ...(expiresAt === undefined ? {} : { expiresAt }),
  });
  const hex = digestOf(secret);
  return {
    hex,
    digest: digestBytes(hex),
    expiresAt: expiresAt ?? Number.POSITIVE_INFINITY,
    accepted: Object.freeze({ kind: 'authenticated', principal }),
    expired: invalid('expired', { credentialId: id, clientId }),
  };
}
