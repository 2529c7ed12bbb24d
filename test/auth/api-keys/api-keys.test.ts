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

describe('where keys are looked for', () => {
  it.each<readonly [what: string, options: object, headers: readonly HeaderLine[], status: number | undefined]>([
    ['a header of another name', { header: 'X-Service-Key' }, [['x-service-key', KEY]], undefined],
    ['and not in the ordinary one then', { header: 'X-Service-Key' }, [header(KEY)], 401],
    ['only bearer tokens', { header: false }, [bearer(KEY)], undefined],
    ['only bearer tokens, whatever stands in X-API-Key', { header: false }, [bearer(KEY), header('x')], undefined],
    ['only bearer tokens, not X-API-Key', { header: false }, [header(KEY)], 401],
    ['only the header', { bearer: false }, [header(KEY)], undefined],
    ['only the header, whatever the bearer token', { bearer: false }, [header(KEY), bearer('x')], undefined],
    ['only the header, not bearer tokens', { bearer: false }, [bearer(KEY)], 401],
  ])('%s', async (_what, options, headers, status) => {
    expect((await ask(authenticate(apiKeys({ keys, ...options })), { headers })).status).toBe(status);
  });

  it.each<readonly [options: Partial<ApiKeySetOptions>, challenge: string]>([
    [{}, 'Bearer realm="api"'],
    [{ header: false }, 'Bearer realm="api"'],
    [{ bearer: false }, 'X-API-Key realm="api"'],
    [{ bearer: false, header: 'X-Service-Key' }, 'X-Service-Key realm="api"'],
  ])('is what the challenge says: %j', async (options, challenge) => {
    const answer = await ask(authenticate(apiKeys({ keys, ...options })));
    expect(answer.replyHeaders).toEqual({ 'WWW-Authenticate': challenge });
  });
});

describe('beside a scheme of signed tokens', () => {
  const TOKEN = 'eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl';
  /** Stands for `jwt`: what matters here is which tokens come to it. */
  function tokens(): { scheme: Authenticator; seen: string[] } {
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
    ['a signed token', [bearer(TOKEN)], undefined, 0, 1],
    ['a signed token that is bad', [bearer(`${TOKEN}x`)], 401, 0, 1],
    ['a signed token without a signature', [bearer('eyJhbGciOiJub25lIn0.e30.')], 401, 0, 1],
    ['a signed token in X-API-Key', [header(TOKEN)], 401, 1, 0],
    ['a signed token in both', [header(TOKEN), bearer(TOKEN)], 401, 1, 0],
    ['an API key', [bearer(KEY)], undefined, 1, 0],
    ['an unknown key', [bearer('unknown-key')], 401, 1, 0],
    ['a token of two parts', [bearer('eyJhbGciOiJub25lIn0.e30')], 401, 1, 0],
    ['a token of four parts', [bearer(`${TOKEN}.x`)], 401, 1, 0],
    ['three parts that begin otherwise', [bearer('key.of.dots')], 401, 1, 0],
  ])('%s goes where it belongs, whichever scheme comes first', async (_what, headers, status, asked, seen) => {
    const store = new RecordStore({ id: 'r', clientId: 'c', digests: [{ digest: digestApiKey(KEY) }] });
    const other = tokens();
    const answer = await ask(authenticate([apiKeys({ store }), other.scheme]), { headers });
    expect({ status: answer.status, asked: store.asked.length, seen: other.seen.length }).toEqual({
      status,
      asked,
      seen,
    });
    expect(answer.faults).toEqual([]);
  });

  it('lets no bad key fall through to a weaker scheme', async () => {
    const secret = 'a-shared-c4n4ry-secret-of-more-than-32-characters';
    const guard = authenticate([apiKeys({ keys }), sharedSecret({ secrets: [secret] })]);
    expect((await ask(guard, { headers: [bearer(secret)] })).status).toBe(401);
  });
});

describe('the clock', () => {
  const { key, record } = generateApiKey({ expiresAt: NOW, now: () => NOW - 1 });
  it.each([
    ['one millisecond before the end', NOW - 1, true],
    ['exactly at the end', NOW, false],
    ['after the end', NOW + 1, false],
    ['that gives NaN', Number.NaN, false],
    ['that gives infinity', Number.POSITIVE_INFINITY, false],
    ['that gives nothing', undefined as unknown as number, false],
  ])('%s', async (_what, at, passed) => {
    for (const scheme of [
      apiKeys({ keys: [record], now: () => at }),
      apiKeys({ store: new RecordStore(record), now: () => at }),
    ]) {
      const answer = await ask(authenticate(scheme), { headers: [header(key)] });
      expect([answer.passed, answer.status]).toEqual([passed, passed ? undefined : 401]);
    }
  });

  it('that gives NaN refuses a key without an end, too', async () => {
    const scheme = apiKeys({ keys, now: () => Number.NaN });
    expect((await ask(authenticate(scheme), { headers: [header(KEY)] })).status).toBe(401);
  });

  it('that throws is a fault and lets nobody in', async () => {
    const scheme = apiKeys({
      keys,
      now: () => {
        throw new Error('no clock');
      },
    });
    const { status, faults } = await ask(authenticate(scheme), { headers: [header(KEY)] });
    expect([status, faults]).toEqual([500, [new Error('no clock')]]);
  });

  it('is the ordinary one unless another is given', async () => {
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
    ['neither keys nor a store', {}, '"keys"', '"store"'],
    ['both', { keys, store }, '"keys"', '"store"'],
    ['keys of undefined', { keys: undefined }, '"keys"'],
    ['a store of undefined', { store: undefined }, '"store"'],
    ['a store without findByDigest', { store: {} }, '"store"', 'findByDigest'],
    ['a cache of keys', { keys, cache: {} }, '"cache"', '"store"'],
    ['neither a header nor bearer', { keys, header: false, bearer: false }, '"header"', '"bearer"'],
    ['a header that is no name', { keys, header: 'X API Key' }, '"header"'],
    ['an empty header', { keys, header: '' }, '"header"'],
    ['a header of true', { keys, header: true }, '"header"'],
    ['Authorization as the header', { keys, header: 'authorization' }, '"header"'],
    ['bearer as text', { keys, bearer: 'false' }, '"bearer"'],
    ['a prefix that is no prefix', { keys, prefix: 'gk' }, '"prefix"'],
    ['a clock that is no function', { keys, now: NOW }, '"now"'],
    ['a misspelt option', { keys, peper: 'x' }, '"peper"'],
    ['a cache for a bad time', { store, cache: { maxAge: '30' } }, '"cache.maxAge"'],
    ['a cache for no time', { store, cache: { maxAge: '0s' } }, '"cache.maxAge"'],
    ['a cache of misses for ever', { store, missCache: true }, '"missCache"'],
    ['a cache of no size', { store, cache: { maxEntries: 0 } }, '"cache.maxEntries"'],
    ['a cache of misses of half a size', { store, missCache: { maxEntries: 0.5 } }, '"missCache.maxEntries"'],
    ['a timeout of no time', { store, timeout: 0 }, '"timeout"'],
    ['a timeout over a minute', { store, timeout: '2m' }, '"timeout"'],
  ])('refuses %s', (_what, options, ...named) => {
    const error = optionError(() => apiKeys(options as ApiKeySetOptions));
    for (const part of ['gatewarden: ', ...named]) expect(error.message).toContain(part);
    expectNothingOf(KEY, inspect(error));
  });
});
