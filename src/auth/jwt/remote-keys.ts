import { createLocalJWKSet, errors, type JWTHeaderParameters } from 'jose';
import { type Duration, milliseconds } from '../../core/duration.js';
import { badSecret, checkOptionNames, type OptionNames } from '../../core/option.js';
import { fetchJson } from './fetch-json.js';
import type { JwtAlgorithm } from './key.js';
import { usableKeys } from './published-keys.js';

/** How the keys of `jwksUrl` are fetched and cached. */
export interface JwksOptions {
  /** How long one fetch may take. Default `'5s'`, at most 60 s. */
  readonly timeout?: Duration | undefined;
  /**
   * The age at which the keys are fetched again. This happens in the background; only if the keys are a minute older
   * than that, the request waits. Default `'10m'`, at most 1 day.
   */
  readonly maxAge?: Duration | undefined;
  /**
   * How long after `maxAge` the keys are still used while the provider does not answer. Default `'1h'`, at most 7 days.
   */
  readonly staleIfError?: Duration | undefined;
  /** The minimum time between two fetches that are caused by an unknown `kid`. Default `'30s'`, at most 1 hour. */
  readonly cooldown?: Duration | undefined;
}

/** The keys cannot be fetched, so the token cannot be verified. */
export class KeysUnavailable extends Error {}
/** The set has no key for the token. */
export class UnknownKey extends Error {}

/** Reports what is wrong with the provider. */
export type Report = (error: unknown) => void;

type LocalKeys = ReturnType<typeof createLocalJWKSet>;

const OPTIONS: OptionNames<JwksOptions> = { timeout: true, maxAge: true, staleIfError: true, cooldown: true };
/** How long after `maxAge` a request still uses the old keys while new ones are fetched in the background. */
const GRACE_MS = 60_000;
/** The pause after a failed fetch. */
const RETRY_MS = 1000;
const LOOPBACK = ['localhost', '127.0.0.1', '[::1]'];

/**
 * A provider's public keys (RFC 7517 section 5). They are fetched when they are first needed, and there is never more
 * than one fetch at a time. Tokens with unknown ids cause a fetch at most once per `cooldown`. While the provider is
 * down, the last set stays in use for a limited time.
 */
export class RemoteKeys {
  readonly #url: URL;
  readonly #timeout: number;
  readonly #maxAge: number;
  readonly #staleIfError: number;
  readonly #cooldown: number;
  readonly #algorithms: readonly JwtAlgorithm[];
  readonly #now: () => number;
  #keys: LocalKeys | undefined;
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #failedAt = Number.NEGATIVE_INFINITY;
  #fetching: Promise<LocalKeys> | undefined;

  /** @throws OptionError for a URL that is neither https nor http to this machine, or for a bad option */
  constructor(
    factory: string,
    url: unknown,
    options: JwksOptions,
    algorithms: readonly JwtAlgorithm[],
    now: () => number,
  ) {
    checkOptionNames(`${factory} "jwks"`, options, OPTIONS);
    const duration = (name: keyof JwksOptions, fallback: Duration, max: number) =>
      milliseconds(factory, `jwks.${name}`, options[name] ?? fallback, max);
    this.#url = jwksUrl(factory, 'jwksUrl', url);
    this.#timeout = duration('timeout', '5s', 60_000);
    this.#maxAge = duration('maxAge', '10m', 86_400_000);
    this.#staleIfError = duration('staleIfError', '1h', 7 * 86_400_000);
    this.#cooldown = duration('cooldown', '30s', 3_600_000);
    this.#algorithms = algorithms;
    this.#now = now;
  }

  /**
   * The key for a token's header.
   * @throws UnknownKey, KeysUnavailable
   */
  async find(header: JWTHeaderParameters, report: Report): ReturnType<LocalKeys> {
    const key = await lookUp(await this.#current(report), header, report);
    if (key !== undefined) return key;
    if (this.#isWithin(this.#cooldown, this.#fetchedAt)) throw new UnknownKey();
    const keyAfterFetch = await lookUp(await this.#fetch(report), header, report);
    if (keyAfterFetch === undefined) throw new UnknownKey();
    return keyAfterFetch;
  }

  #current(report: Report): LocalKeys | Promise<LocalKeys> {
    const keys = this.#isWithin(this.#maxAge + this.#staleIfError, this.#fetchedAt) ? this.#keys : undefined;
    if (keys === undefined) return this.#fetch(report);
    if (this.#isWithin(this.#maxAge, this.#fetchedAt) || !this.#mayRetry()) return keys;
    const fetched = this.#fetch(report).catch(() => keys);
    // After a long time without requests, a key may have been withdrawn. Unless the provider is known to be down, this
    // request waits for the new keys.
    const wasIdle = !this.#isWithin(this.#maxAge + GRACE_MS, this.#fetchedAt) && !(this.#failedAt > this.#fetchedAt);
    return wasIdle ? fetched : keys;
  }

  /** Written so that a clock that returns NaN, or that was set back, makes the keys too old. */
  #isWithin(ms: number, since: number): boolean {
    const age = this.#now() - since;
    return age >= 0 && age <= ms;
  }

  #mayRetry(): boolean {
    const age = this.#now() - this.#failedAt;
    return !(age >= 0 && age < RETRY_MS);
  }

  #fetch(report: Report): Promise<LocalKeys> {
    if (this.#fetching === undefined && !this.#mayRetry()) return Promise.reject(new KeysUnavailable());
    this.#fetching ??= fetchJson(this.#url, this.#timeout, 'application/jwk-set+json, application/json')
      .then((json) => createLocalJWKSet(usableKeys(json, this.#algorithms, report)))
      .then(
        (keys) => {
          this.#keys = keys;
          this.#fetchedAt = this.#now();
          return keys;
        },
        (error: unknown) => {
          this.#failedAt = this.#now();
          const message = `gatewarden: could not fetch the keys from ${this.#url.origin}`;
          const unavailable = new KeysUnavailable(message, { cause: error });
          // Reported once for each fetch, although many requests may wait for it.
          report(unavailable);
          throw unavailable;
        },
      )
      .finally(() => {
        this.#fetching = undefined;
      });
    return this.#fetching;
  }
}

async function lookUp(
  keys: LocalKeys,
  header: JWTHeaderParameters,
  report: Report,
): Promise<Awaited<ReturnType<LocalKeys>> | undefined> {
  try {
    return await keys(header);
  } catch (error) {
    // A JOSEError means that no key matches, or that several do and no `kid` selects one.
    if (!(error instanceof errors.JOSEError)) reportOnce(keys, error, report);
    return undefined;
  }
}

/** Sets with a key that could not be imported. Without this, a client could fill the log by naming that key. */
const reported = new WeakSet<LocalKeys>();

function reportOnce(keys: LocalKeys, error: unknown, report: Report): void {
  if (reported.has(keys)) return;
  reported.add(keys);
  report(new Error("gatewarden: a key in the provider's key set cannot be used", { cause: error }));
}

/** Checks the URL of a key set. @throws OptionError that does not show the URL, because it may contain a password */
export function jwksUrl(factory: string, option: string, value: unknown): URL {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined;
  const isSecure = url?.protocol === 'https:' || (url?.protocol === 'http:' && LOOPBACK.includes(url.hostname));
  if (url === undefined || !isSecure || url.username !== '' || url.password !== '') {
    throw badSecret(factory, option, 'must be an https URL without credentials, or an http URL of this machine');
  }
  return url;
}
