import type { Principal } from '../exchange.js';
import { badOption, badSecret, checkOptionNames } from '../option.js';
import { type Authenticator, invalid, type Verdict } from './authenticator.js';
import { BEARER_TOKEN, readBearer } from './bearer.js';
import { digestBytes, digestOf, equalDigests } from './digest.js';

/** A secret with an end, or a name for the audit. */
export interface SharedSecretEntry {
  readonly secret: string;
  /** Names the secret in `principal.credentialId`. Default `secret-1`, `secret-2` and so on. */
  readonly id?: string;
  /** From this moment on the secret is refused. Default never. */
  readonly expiresAt?: Date;
}

/** What `sharedSecret` takes. */
export interface SharedSecretOptions {
  /** All accepted secrets: the current one, and earlier ones while callers change over. */
  readonly secrets: readonly (string | SharedSecretEntry)[];
  /** `principal.id` of whoever knows a secret. Default `shared-secret`. */
  readonly clientId?: string;
  /** Scopes of the principal. Default none. */
  readonly scopes?: readonly string[];
  /** Default `Date.now`. */
  readonly now?: () => number;
}

const MIN_LENGTH = 32;
const ENTRY_NAMES: readonly string[] = ['secret', 'id', 'expiresAt'];
const UNKNOWN = invalid('unknown');
const EXPIRED = invalid('expired');

/**
 * Lets in whoever sends `Authorization: Bearer <secret>` (RFC 6750). The token is compared with every secret in constant
 * time, over digests of one length.
 *
 * ```ts
 * authenticate(sharedSecret({ secrets: [process.env.SECRET_KEY ?? ''] }))
 * ```
 * @throws OptionError for an empty list, a secret under 32 characters or with one that a bearer token may not hold, and
 * for one that is listed twice. The message gives the place in the list, never the secret.
 */
export function sharedSecret(options: SharedSecretOptions): Authenticator {
  checkOptionNames('sharedSecret', options, ['secrets', 'clientId', 'scopes', 'now']);
  const { secrets, clientId = 'shared-secret', scopes = [], now = Date.now } = options;
  if (!Array.isArray(secrets) || secrets.length === 0) {
    throw badSecret('sharedSecret', 'secrets', 'must be a list of at least one secret');
  }
  if (typeof clientId !== 'string' || clientId === '') {
    throw badOption('sharedSecret', 'clientId', 'must be a non-empty string', clientId);
  }
  if (!Array.isArray(scopes) || scopes.some((scope) => typeof scope !== 'string')) {
    throw badOption('sharedSecret', 'scopes', 'must be a list of strings', scopes);
  }
  if (typeof now !== 'function') throw badOption('sharedSecret', 'now', 'must be a function', now);
  const accepted = secrets.map((entry, i) => acceptedSecret(entry, i, clientId, scopes));
  const digests = new Set(accepted.map(({ text }) => text));
  if (digests.size < accepted.length) throw badSecret('sharedSecret', 'secrets', 'must not list a secret twice');

  return {
    scheme: 'shared-secret',
    challenge: 'Bearer',
    read: readBearer,
    verify(token): Verdict {
      const digest = digestOf(token);
      let found: AcceptedSecret | undefined;
      for (const candidate of accepted) if (equalDigests(digest, candidate.digest)) found = candidate;
      if (found === undefined) return UNKNOWN;
      // Asked this way round, a clock that gives NaN refuses.
      return now() < found.expiresAt ? found.verdict : EXPIRED;
    },
  };
}

interface AcceptedSecret {
  readonly text: string;
  readonly digest: Buffer;
  readonly expiresAt: number;
  readonly verdict: Verdict;
}

function acceptedSecret(
  entry: string | SharedSecretEntry,
  index: number,
  clientId: string,
  scopes: readonly string[],
): AcceptedSecret {
  const option = `secrets[${index}]`;
  const {
    secret,
    id = `secret-${index + 1}`,
    expiresAt,
  }: SharedSecretEntry = typeof entry === 'string' || entry === null || typeof entry !== 'object'
    ? { secret: entry }
    : entry;
  if (typeof entry === 'object' && entry !== null && Object.keys(entry).some((name) => !ENTRY_NAMES.includes(name))) {
    // A misspelt `expiresAt` would keep an old secret alive for ever.
    throw badSecret('sharedSecret', option, `knows only ${ENTRY_NAMES.join(', ')}`);
  }
  if (typeof secret !== 'string' || secret.length < MIN_LENGTH) {
    throw badSecret('sharedSecret', option, `must be a string of at least ${MIN_LENGTH} characters`);
  }
  if (!BEARER_TOKEN.test(secret)) {
    throw badSecret(
      'sharedSecret',
      option,
      'may hold only what a bearer token may: letters, digits and -._~+/, = at its end',
    );
  }
  if (typeof id !== 'string' || id === '' || id === secret) {
    throw badSecret('sharedSecret', `${option}.id`, 'must be a non-empty string, and not the secret');
  }
  if (expiresAt !== undefined && !(expiresAt instanceof Date && Number.isFinite(expiresAt.getTime()))) {
    throw badOption('sharedSecret', `${option}.expiresAt`, 'must be a valid Date', expiresAt);
  }
  const text = digestOf(secret);
  const ends = expiresAt === undefined ? {} : { expiresAt: expiresAt.getTime() };
  const principal: Principal = Object.freeze({
    id: clientId,
    scheme: 'shared-secret',
    scopes: Object.freeze([...scopes]),
    credentialId: id,
    ...ends,
  });
  return {
    text,
    digest: digestBytes(text),
    expiresAt: ends.expiresAt ?? Number.POSITIVE_INFINITY,
    verdict: Object.freeze({ kind: 'authenticated', principal }),
  };
}
