import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTHeaderParameters } from 'jose';
import { type Duration, milliseconds } from '../../core/duration.js';
import { badSecret } from '../../core/option.js';

/** How `jwksUrl` is asked. */
export interface JwksOptions {
  /** How long one request may take. Default 5 s. */
  readonly timeout?: Duration;
  /** From when on the keys are asked for again: in the background, or first where nobody has come for a minute more. Default 10 min. */
  readonly maxAge?: Duration;
  /** How much longer they are used while they cannot be had anew. Default 1 h. */
  readonly staleIfError?: Duration;
  /** How soon an unknown `kid` makes the keys be asked for again. Default 30 s. */
  readonly cooldown?: Duration;
}

/** The keys cannot be had: the token is neither good nor bad. */
export class KeysUnavailable extends Error {}
/** No key of the set is the token's. */
export class UnknownKey extends Error {}

/** Told of what is wrong with the provider. */
export type Report = (error: unknown) => void;

type LocalKeys = ReturnType<typeof createLocalJWKSet>;

const MAX_BYTES = 262_144;
const MAX_KEYS = 100;
/** How long after `maxAge` a set is still good for whoever comes, while another is asked for. */
const GRACE_MS = 60_000;
/** How soon a failed request is tried again. */
const RETRY_MS = 1000;
const LOOPBACK = ['localhost', '127.0.0.1', '[::1]'];

/**
 * A provider's public keys (RFC 7517 section 5): asked for when they are first needed, never more than once at a time, and
 * not more often than `cooldown` allows whatever tokens come in. While the provider is down the last set is used on, for
 * a bounded time.
 */
export class RemoteKeys {
  readonly #url: URL;
  readonly #timeout: number;
  readonly #maxAge: number;
  readonly #staleIfError: number;
  readonly #cooldown: number;
  readonly #now: () => number;
  #keys: LocalKeys | undefined;
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #failedAt = Number.NEGATIVE_INFINITY;
  #fetching: Promise<LocalKeys> | undefined;

  /** @throws OptionError for a URL that is not https (http to this machine will do), or a bad duration */
  constructor(factory: string, url: unknown, options: JwksOptions, now: () => number) {
    const duration = (name: keyof JwksOptions, ordinary: Duration, max: number) =>
      milliseconds(factory, `jwks.${name}`, options[name] ?? ordinary, max);
    this.#url = keysUrl(factory, url);
    this.#timeout = duration('timeout', '5s', 60_000);
    this.#maxAge = duration('maxAge', '10m', 86_400_000);
    this.#staleIfError = duration('staleIfError', '1h', 7 * 86_400_000);
    this.#cooldown = duration('cooldown', '30s', 3_600_000);
    this.#now = now;
  }

  /**
   * The key for a token's header.
   * @throws UnknownKey, KeysUnavailable
   */
  async find(header: JWTHeaderParameters, report: Report): ReturnType<LocalKeys> {
    const keys = await this.#usable(report);
    const found = await lookUp(keys, header, report);
    if (found !== undefined) return found;
    if (this.#isWithin(this.#cooldown, this.#fetchedAt)) throw new UnknownKey();
    const anew = await lookUp(await this.#fetch(report), header, report);
    if (anew === undefined) throw new UnknownKey();
    return anew;
  }

  #usable(report: Report): LocalKeys | Promise<LocalKeys> {
    const keys = this.#isWithin(this.#maxAge + this.#staleIfError, this.#fetchedAt) ? this.#keys : undefined;
    if (keys === undefined) return this.#fetch(report);
    if (this.#isWithin(this.#maxAge, this.#fetchedAt) || !this.#mayRetry()) return keys;
    const anew = this.#fetch(report).catch(() => keys);
    // Where nobody came for long, a key may have been taken back since, and nothing says yet that the provider is down.
    const idle = !this.#isWithin(this.#maxAge + GRACE_MS, this.#fetchedAt) && !(this.#failedAt > this.#fetchedAt);
    return idle ? anew : keys;
  }

  /** Asked this way round, a clock that gives NaN, or that was set back, is as good as no memory. */
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
    this.#fetching ??= this.#load()
      .then(
        (keys) => {
          this.#keys = keys;
          this.#fetchedAt = this.#now();
          return keys;
        },
        (error: unknown) => {
          this.#failedAt = this.#now();
          const unavailable = new KeysUnavailable(`the keys of ${this.#url.origin} cannot be had`, { cause: error });
          // Once, however many wait for them.
          report(unavailable);
          throw unavailable;
        },
      )
      .finally(() => {
        this.#fetching = undefined;
      });
    return this.#fetching;
  }

  async #load(): Promise<LocalKeys> {
    // A redirect could lead to whoever can write one on the provider's site.
    const response = await fetch(this.#url, {
      redirect: 'error',
      signal: AbortSignal.timeout(this.#timeout),
      headers: { Accept: 'application/jwk-set+json, application/json' },
    });
    if (!response.ok) {
      await response.body?.cancel();
      throw new Error(`the provider answered ${response.status}`);
    }
    return createLocalJWKSet(keySet(JSON.parse(await textOf(response))));
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
    // Several where no kid says which, or one that is no key: as good as none.
    if (!(error instanceof errors.JOSEError)) reportOnce(keys, error, report);
    return undefined;
  }
}

/** Sets of which a key could not be used. Whoever names that key would otherwise fill the log. */
const reported = new WeakSet<LocalKeys>();

function reportOnce(keys: LocalKeys, error: unknown, report: Report): void {
  if (reported.has(keys)) return;
  reported.add(keys);
  report(new Error('gatewarden: a key of the provider cannot be used', { cause: error }));
}

/** A set that holds a secret is not meant for us, and not to be trusted. */
function keySet(value: unknown): JSONWebKeySet {
  const { keys } = (value ?? {}) as { readonly keys?: unknown };
  if (!Array.isArray(keys) || keys.length > MAX_KEYS) throw new Error('the provider gave no key set');
  for (const key of keys) {
    if (typeof key !== 'object' || key === null || typeof key.kty !== 'string') throw new Error('the set holds no key');
    if (key.kty === 'oct' || 'd' in key || 'k' in key) throw new Error('the set holds a private key');
  }
  return { keys };
}

async function textOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > MAX_BYTES) throw new Error('the key set is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function keysUrl(factory: string, value: unknown): URL {
  const rule = 'must be an https URL without credentials (http only to this machine)';
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined;
  const secure = url?.protocol === 'https:' || (url?.protocol === 'http:' && LOOPBACK.includes(url.hostname));
  if (url === undefined || !secure || url.username !== '' || url.password !== '') {
    // Not shown: it may hold a password.
    throw badSecret(factory, 'jwksUrl', rule);
  }
  return url;
}
