import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { type ApiKeySetOptions, apiKeys } from '../../../src/auth/api-keys/api-keys.js';
import { generateApiKey } from '../../../src/auth/api-keys/generate.js';
import { digestApiKey } from '../../../src/auth/api-keys/key-digest.js';
import { authenticate } from '../../../src/auth/authenticate.js';
import { type Authenticator, invalid } from '../../../src/auth/authenticator.js';
import { readBearer } from '../../../src/auth/bearer.js';
import { sharedSecret } from '../../../src/auth/shared-secret.js';
import { ask, type HeaderLine } from '../../exchange-fixture.js';
import { bearer, expectNothingOf, header, NOW, optionError, RecordStore } from './key-fixture.js';

const KEY = 'Zk9-c4n4ry-legacy-key-0123';
const keys = [KEY];

describe('the header of keys', () => {
  it.each<readonly [what: string, options: object, headers: readonly HeaderLine[], status: number | undefined]>([
    ['may have another name', { header: 'X-Service-Key' }, [['x-service-key', KEY]], undefined],
    ['is not X-API-Key if it has another name', { header: 'X-Service-Key' }, [header(KEY)], 401],
    ['may be false, for bearer tokens only', { header: false }, [bearer(KEY)], undefined],
    ['is not read if it is false', { header: false }, [bearer(KEY), header('x')], undefined],
    ['carries no keys if it is false', { header: false }, [header(KEY)], 401],
    ['may be the only place for keys', { bearer: false }, [header(KEY)], undefined],
    ['is read without the bearer token if bearer is false', { bearer: false }, [header(KEY), bearer('x')], undefined],
    ['is required if bearer is false', { bearer: false }, [bearer(KEY)], 401],
  ])('%s', async (_what, options, headers, status) => {
    expect((await ask(authenticate(apiKeys({ keys, ...options })), { headers })).status).toBe(status);
  });

  it.each<readonly [options: Partial<ApiKeySetOptions>, challenge: string]>([
    [{}, 'Bearer realm="api"'],
    [{ header: false }, 'Bearer realm="api"'],
    [{ bearer: false }, 'X-API-Key realm="api"'],
    [{ bearer: false, header: 'X-Service-Key' }, 'X-Service-Key realm="api"'],
  ])('determines the challenge: %j', async (options, challenge) => {
    const answer = await ask(authenticate(apiKeys({ keys, ...options })));
    expect(answer.replyHeaders).toEqual({ 'WWW-Authenticate': challenge });
  });
});

describe('apiKeys next to a scheme of JWTs', () => {
  const TOKEN = 'eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl';
  /** In place of `jwt`: it records the tokens that it gets. */
  function jwtScheme(): { scheme: Authenticator; seen: string[] } {
    const seen: string[] = [];
    const principal = { id: 'user', scheme: 'jwt', scopes: [], credentialId: 'k' };
    return {
      seen,
      scheme: {
        scheme: 'jwt',
        challenge: 'Bearer',
        read: readBearer,
        verify(token) {
          seen.push(token);
          return token === TOKEN ? { kind: 'authenticated', principal } : invalid('signature');
        },
      },
    };
  }

  it.each<
    readonly [what: string, headers: readonly HeaderLine[], status: number | undefined, asked: number, seen: number]
  >([
    ['a JWT', [bearer(TOKEN)], undefined, 0, 1],
    ['an invalid JWT', [bearer(`${TOKEN}x`)], 401, 0, 1],
    ['a JWT without a signature', [bearer('eyJhbGciOiJub25lIn0.e30.')], 401, 0, 1],
    ['a JWT in X-API-Key', [header(TOKEN)], 401, 1, 0],
    ['a JWT in both headers', [header(TOKEN), bearer(TOKEN)], 401, 1, 0],
    ['an API key', [bearer(KEY)], undefined, 1, 0],
    ['an unknown key', [bearer('unknown-key')], 401, 1, 0],
    ['a token of two parts', [bearer('eyJhbGciOiJub25lIn0.e30')], 401, 1, 0],
    ['a token of four parts', [bearer(`${TOKEN}.x`)], 401, 1, 0],
    ['three parts that are not a JWT', [bearer('key.of.dots')], 401, 1, 0],
  ])('is verified by the scheme it belongs to: %s', async (_what, headers, status, asked, seen) => {
    const store = new RecordStore({ id: 'r', clientId: 'c', digests: [{ digest: digestApiKey(KEY) }] });
    const other = jwtScheme();
    const answer = await ask(authenticate([apiKeys({ store }), other.scheme]), { headers });
    expect({ status: answer.status, asked: store.asked.length, seen: other.seen.length }).toEqual({
      status,
      asked,
      seen,
    });
    expect(answer.faults).toEqual([]);
  });

  it('never leaves an invalid key to a weaker scheme', async () => {
    const secret = 'a-shared-c4n4ry-secret-of-more-than-32-characters';
    const guard = authenticate([apiKeys({ keys }), sharedSecret({ secrets: [secret] })]);
    expect((await ask(guard, { headers: [bearer(secret)] })).status).toBe(401);
  });
});

describe('the clock', () => {
  const { key, record } = generateApiKey({ expiresAt: NOW, now: () => NOW - 1 });
  it.each([
    ['one millisecond before the expiry', NOW - 1, true],
    ['exactly at the expiry', NOW, false],
    ['after the expiry', NOW + 1, false],
    ['that returns NaN', Number.NaN, false],
    ['that returns infinity', Number.POSITIVE_INFINITY, false],
    ['that returns undefined', undefined as unknown as number, false],
  ])('%s decides on a key with an expiry', async (_what, at, passed) => {
    for (const scheme of [
      apiKeys({ keys: [record], now: () => at }),
      apiKeys({ store: new RecordStore(record), now: () => at }),
    ]) {
      const answer = await ask(authenticate(scheme), { headers: [header(key)] });
      expect([answer.passed, answer.status]).toEqual([passed, passed ? undefined : 401]);
    }
  });

  it('that returns NaN refuses a key without an expiry, too', async () => {
    const scheme = apiKeys({ keys, now: () => Number.NaN });
    expect((await ask(authenticate(scheme), { headers: [header(KEY)] })).status).toBe(401);
  });

  it('that throws is a fault, and never a pass', async () => {
    const scheme = apiKeys({
      keys,
      now: () => {
        throw new Error('no clock');
      },
    });
    const { status, faults } = await ask(authenticate(scheme), { headers: [header(KEY)] });
    expect([status, faults]).toEqual([500, [new Error('no clock')]]);
  });

  it('is the system clock by default', async () => {
    const passes = async (expiresAt: number) => {
      const made = generateApiKey({ expiresAt, now: () => NOW });
      const scheme = apiKeys({ keys: [made.record] });
      return (await ask(authenticate(scheme), { headers: [header(made.key)] })).passed;
    };
    expect([await passes(Date.now() + 3_600_000), await passes(NOW + 1)]).toEqual([true, false]);
  });
});

describe('construction', () => {
  const store = new RecordStore();
  it.each<readonly [what: string, options: unknown, ...named: string[]]>([
    ['a key instead of options', KEY, 'apiKeys'],
    ['neither keys nor store', {}, '"keys"', '"store"'],
    ['both keys and store', { keys, store }, '"keys"', '"store"'],
    ['keys of undefined', { keys: undefined }, '"keys"'],
    ['a store of undefined', { store: undefined }, '"store"'],
    ['a store without findByDigest', { store: {} }, '"store"', 'findByDigest'],
    ['a cache without a store', { keys, cache: {} }, '"cache"', '"store"'],
    ['a missCache without a store', { keys, missCache: false }, '"missCache"', '"store"'],
    ['a timeout without a store', { keys, timeout: '1s' }, '"timeout"', '"store"'],
    ['an unset variable', { keys: [undefined] }, '"keys[0]" is not set', 'gatewarden keygen'],
    ['an empty variable', { keys: [KEY, ''] }, '"keys[1]" is empty', 'gatewarden keygen'],
    ['an empty pepper', { keys, pepper: '' }, '"pepper" is empty', 'openssl rand -hex 32'],
    ['neither a header nor bearer', { keys, header: false, bearer: false }, '"header"', '"bearer"'],
    ['a header that is not a name', { keys, header: 'X API Key' }, '"header"'],
    ['an empty header', { keys, header: '' }, '"header"'],
    ['a header of true', { keys, header: true }, '"header"'],
    ['Authorization as the header', { keys, header: 'authorization' }, '"header"'],
    ['bearer as a string', { keys, bearer: 'false' }, '"bearer"'],
    ['a malformed prefix', { keys, prefix: 'gk' }, '"prefix"'],
    ['a clock that is not a function', { keys, now: NOW }, '"now"'],
    ['a misspelt option', { keys, peper: 'x' }, '"peper"'],
    ['a maxAge without a unit', { store, cache: { maxAge: '30' } }, '"cache.maxAge" needs a unit'],
    ['a maxAge of no time', { store, cache: { maxAge: '0s' } }, '"cache.maxAge"'],
    ['a missCache of true', { store, missCache: true }, '"missCache" must be { maxEntries, maxAge } or false'],
    ['a cache of null', { store, cache: null }, '"cache" must be { maxEntries, maxAge } or false'],
    ['a cache that is a number', { store, cache: 5 }, '"cache" must be { maxEntries, maxAge } or false'],
    [
      'an unknown member of cache',
      { store, cache: { max: 5 } },
      'apiKeys "cache" has no option "max"',
      'maxEntries, maxAge',
    ],
    [
      'a misspelt member of missCache',
      { store, missCache: { maxage: '5s' } },
      'apiKeys "missCache" has no option "maxage"',
      'Did you mean "maxAge"',
    ],
    ['a cache of no entries', { store, cache: { maxEntries: 0 } }, '"cache.maxEntries"'],
    ['a missCache of half an entry', { store, missCache: { maxEntries: 0.5 } }, '"missCache.maxEntries"'],
    ['a timeout of no time', { store, timeout: 0 }, '"timeout"'],
    ['a timeout over a minute', { store, timeout: '2m' }, '"timeout"'],
  ])('refuses %s', (_what, options, ...named) => {
    const error = optionError(() => apiKeys(options as ApiKeySetOptions));
    for (const part of ['gatewarden: ', ...named]) expect(error.message).toContain(part);
    expectNothingOf(KEY, inspect(error));
  });
});
