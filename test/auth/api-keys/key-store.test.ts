import { inspect } from 'node:util';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type ApiKeyStoreOptions, apiKeys } from '../../../src/auth/api-keys/api-keys.js';
import { generateApiKey } from '../../../src/auth/api-keys/generate.js';
import { digestApiKey } from '../../../src/auth/api-keys/key-digest.js';
import type { ApiKeyStore } from '../../../src/auth/api-keys/key-store.js';
import type { ApiKeyRecord } from '../../../src/auth/api-keys/record.js';
import { authenticate } from '../../../src/auth/authenticate.js';
import type { AuthenticationDecision } from '../../../src/core/authentication-decision.js';
import type { Guard } from '../../../src/core/guard.js';
import { sequence } from '../../../src/core/sequence.js';
import { type Answer, ask, testExchange } from '../../exchange-fixture.js';
import { expectNothingOf, header, NOW, RecordStore } from './key-fixture.js';

const made = generateApiKey({ clientId: 'acme', now: () => NOW });
const { key, record } = made;
const digest = digestApiKey(key);
const wrong = (i: number) => `wrong-c4n4ry-key-${i}`;

/** A service with a store, and its own clock. */
function service<S extends ApiKeyStore>(store: S, options: Omit<ApiKeyStoreOptions, 'store'> = {}) {
  const clock = { now: NOW };
  const scheme = apiKeys({ store, now: () => clock.now, ...options });
  const guard = authenticate(scheme);
  const get = (token: string) => ask(guard, { headers: [header(token)] });
  return {
    store,
    scheme,
    clock,
    get,
    /** Whether the key was accepted, and how often the store was asked. */
    passes: async (token: string, asked: () => number) => [(await get(token)).passed, asked()] as const,
    /** The verdict if it needs no promise, else `pending`. */
    verdictNow: (token: string) => {
      const verdict = scheme.verify(token, testExchange().exchange);
      return verdict instanceof Promise ? 'pending' : verdict.kind;
    },
  };
}

/** A store that answers when the test says so. */
class SlowStore implements ApiKeyStore {
  readonly asked: { digest: string; signal: AbortSignal; answer: (found?: ApiKeyRecord) => void }[] = [];

  findByDigest(digest: string, signal: AbortSignal): Promise<ApiKeyRecord | undefined> {
    return new Promise((answer) => this.asked.push({ digest, signal, answer }));
  }
}

describe('the store', () => {
  it('gets the digest, and never the key', async () => {
    const { store, get } = service(new RecordStore(record));
    expect((await get(key)).exchange.principal?.id).toBe('acme');
    expect(store.asked).toEqual([digest]);
  });

  it('gets the digest with the pepper', async () => {
    const pepper = 'Pq8-c4n4ry-p3pp3r-Xz7-9876543210-Vw6-QqQ';
    const peppered = generateApiKey({ pepper });
    const { store, get } = service(new RecordStore(peppered.record), { pepper });
    expect((await get(peppered.key)).passed).toBe(true);
    expect(store.asked).toEqual([digestApiKey(peppered.key, { pepper })]);
  });

  it('is asked again for a known key after 30 seconds', async () => {
    const { store, clock, passes, verdictNow } = service(new RecordStore(record));
    const asked = () => store.asked.length;
    expect(await passes(key, asked)).toEqual([true, 1]);
    store.records = [];
    clock.now = NOW + 29_999;
    expect(await passes(key, asked)).toEqual([true, 1]);
    expect(verdictNow(key)).toBe('authenticated');
    clock.now = NOW + 30_000;
    expect(await passes(key, asked)).toEqual([false, 2]);
  });

  it('is asked again for an unknown key after 5 seconds', async () => {
    const { store, clock, passes, verdictNow } = service(new RecordStore());
    const asked = () => store.asked.length;
    expect(await passes(key, asked)).toEqual([false, 1]);
    store.records = [record];
    clock.now = NOW + 4999;
    expect(await passes(key, asked)).toEqual([false, 1]);
    expect(verdictNow(key)).toBe('invalid');
    clock.now = NOW + 5000;
    expect(await passes(key, asked)).toEqual([true, 2]);
    // The key is cached as known now, for 30 seconds.
    clock.now = NOW + 9999;
    expect(await passes(key, asked)).toEqual([true, 2]);
  });

  it('is asked again 30 seconds after it was asked, however late it answered', async () => {
    const { store, clock, get, passes } = service(new SlowStore(), { timeout: '60s' });
    const first = get(key);
    clock.now = NOW + 20_000;
    store.asked[0]?.answer(record);
    expect((await first).passed).toBe(true);
    clock.now = NOW + 29_999;
    expect(await passes(key, () => store.asked.length)).toEqual([true, 1]);
    clock.now = NOW + 30_000;
    const again = get(key);
    expect(store.asked.length).toBe(2);
    store.asked[1]?.answer();
    expect((await again).status).toBe(401);
  });

  it.each([
    ['for as long as maxAge', { cache: { maxAge: '2s' }, missCache: { maxAge: '1s' } } as const, 2000, 1000],
    ['not at all if the caches are false', { cache: false, missCache: false } as const, 0, 0],
  ])('has its answers cached %s', async (_what, options, hit, miss) => {
    for (const [records, length] of [
      [[record], hit],
      [[], miss],
    ] as const) {
      const { store, clock, get } = service(new RecordStore(...records), options);
      for (const at of [0, length - 1, length].filter((ms) => ms >= 0)) {
        clock.now = NOW + at;
        await get(key);
      }
      expect(store.asked.length).toBe(2);
    }
  });

  it('is asked again if the clock has jumped back', async () => {
    const { store, clock, passes } = service(new RecordStore(record));
    const asked = () => store.asked.length;
    await passes(key, asked);
    clock.now = NOW - 1;
    expect(await passes(key, asked)).toEqual([true, 2]);
  });

  it.each([
    ['valid, then revoked', [record], [], 30_000, false],
    ['unknown, then valid', [], [record], 5000, true],
  ])(
    'has only its latest answer cached, wherever the clock jumps: %s',
    async (_what, before, after, length, passed) => {
      const { store, clock, passes } = service(new RecordStore(...before));
      const asked = () => store.asked.length;
      expect(await passes(key, asked)).toEqual([!passed, 1]);
      store.records = after;
      clock.now = NOW + length;
      expect(await passes(key, asked)).toEqual([passed, 2]);
      clock.now = NOW + 1;
      expect(await passes(key, asked)).toEqual([passed, 3]);
    },
  );

  it('may answer null for an unknown key', async () => {
    const { get } = service({ findByDigest: async () => null });
    const { status, faults } = await get(key);
    expect([status, faults]).toEqual([401, []]);
  });

  it('has its records checked against the clock for every request, cached or not', async () => {
    const [entry] = record.digests;
    const between = { ...record, digests: [{ digest, ...entry, notBefore: NOW, expiresAt: NOW + 10 }] };
    const { store, clock, passes } = service(new RecordStore(between));
    const asked = () => store.asked.length;
    expect(await passes(key, asked)).toEqual([true, 1]);
    clock.now = NOW + 9;
    expect(await passes(key, asked)).toEqual([true, 1]);
    clock.now = NOW + 10;
    expect(await passes(key, asked)).toEqual([false, 1]);
  });

  it('may answer with a disabled record', async () => {
    const { store, passes, verdictNow } = service(new RecordStore({ ...record, enabled: false }));
    expect(await passes(key, () => store.asked.length)).toEqual([false, 1]);
    expect(verdictNow(key)).toBe('invalid');
  });

  it('is asked once for any number of requests that wait', async () => {
    const { store, get } = service(new SlowStore());
    const waiting = Array.from({ length: 50 }, () => get(key));
    const another = get(wrong(1));
    await vi.waitFor(() => expect(store.asked.length).toBe(2));
    store.asked[0]?.answer(record);
    store.asked[1]?.answer();
    const answers = await Promise.all(waiting);
    expect(answers.every(({ passed }) => passed)).toBe(true);
    expect((await another).status).toBe(401);
    expect(store.asked.map((call) => call.digest)).toEqual([digest, digestApiKey(wrong(1))]);
  });
});

describe('the caches', () => {
  it('keep valid keys during a flood of unknown ones', async () => {
    const { store, get, verdictNow } = service(new RecordStore(record), {
      cache: { maxEntries: 2 },
      missCache: { maxEntries: 10 },
    });
    await get(key);
    for (let i = 0; i < 100; i++) await get(wrong(i));
    expect(store.asked.length).toBe(101);
    expect(verdictNow(key)).toBe('authenticated');
  });

  it('are bounded, for valid keys and for unknown ones', async () => {
    const others = Array.from({ length: 3 }, () => generateApiKey());
    const records = [record, ...others.map((other) => other.record)];
    const { get, verdictNow } = service(new RecordStore(...records), {
      cache: { maxEntries: 3 },
      missCache: { maxEntries: 4 },
    });
    for (const generated of [made, ...others]) await get(generated.key);
    expect([made, ...others].map((generated) => verdictNow(generated.key))).toEqual([
      'pending',
      ...Array(3).fill('authenticated'),
    ]);
    for (let i = 0; i < 5; i++) await get(wrong(i));
    expect([0, 1, 2, 3, 4].map((i) => verdictNow(wrong(i)))).toEqual(['pending', ...Array(4).fill('invalid')]);
  });
});

describe('invalidate', () => {
  const second = generateApiKey({ clientId: 'acme' });
  const both: ApiKeyRecord = { ...record, digests: [...record.digests, ...second.record.digests] };
  const other = generateApiKey({ clientId: 'other' });

  it.each<
    readonly [
      what: string,
      invalidate: (scheme: ReturnType<typeof service>['scheme']) => void,
      expected: readonly string[],
    ]
  >([
    [
      'removes the key of a digest',
      (scheme) => scheme.invalidate(digest),
      ['pending', 'authenticated', 'authenticated', 'invalid'],
    ],
    [
      'removes every key of the record with an id',
      (scheme) => scheme.invalidate(record.id),
      ['pending', 'pending', 'authenticated', 'invalid'],
    ],
    [
      'removes an unknown digest',
      (scheme) => scheme.invalidate(digestApiKey(wrong(0))),
      ['authenticated', 'authenticated', 'authenticated', 'pending'],
    ],
    [
      'removes nothing for an id that is not known',
      (scheme) => scheme.invalidate('acme'),
      ['authenticated', 'authenticated', 'authenticated', 'invalid'],
    ],
    [
      'removes everything by invalidateAll',
      (scheme) => scheme.invalidateAll(),
      ['pending', 'pending', 'pending', 'pending'],
    ],
  ])('%s', async (_what, invalidate, expected) => {
    const { scheme, get, verdictNow } = service(new RecordStore(both, other.record));
    const tokens = [key, second.key, other.key, wrong(0)];
    for (const token of tokens) await get(token);
    invalidate(scheme);
    expect(tokens.map(verdictNow)).toEqual(expected);
  });

  it.each<readonly [what: string, invalidate: (scheme: ReturnType<typeof service>['scheme']) => void]>([
    ['by the digest', (scheme) => scheme.invalidate(digest)],
    ['by the record', (scheme) => scheme.invalidate(record.id)],
    ['by invalidateAll', (scheme) => scheme.invalidateAll()],
  ])(
    '%s, while the store is asked, keeps its earlier answer from being cached or shared',
    async (_what, invalidate) => {
      const { store, scheme, get, verdictNow } = service(new SlowStore());
      const before = get(key);
      invalidate(scheme);
      const after = get(key);
      expect(store.asked.length).toBe(2);
      store.asked[0]?.answer(record);
      expect((await before).passed).toBe(true);
      // The second call is pending: the answer to the first one is not used any more.
      expect(verdictNow(key)).toBe('pending');
      expect(store.asked.length).toBe(2);
      store.asked[1]?.answer();
      expect((await after).status).toBe(401);
      expect(verdictNow(key)).toBe('invalid');
    },
  );
});

describe('a store that fails', () => {
  afterEach(() => vi.useRealTimers());

  const UNAVAILABLE = { passed: false, status: 503, headers: { 'Retry-After': '5' } };
  const seen = ({ passed, status, replyHeaders: headers }: Answer) => ({ passed, status, headers });
  const digests = [{ digest: digestApiKey(wrong(7)) }];

  it.each<readonly [what: string, find: () => unknown, fault: RegExp]>([
    ['by rejecting', () => Promise.reject(new Error('database down')), /^Error: database down$/],
    [
      'by throwing',
      () => {
        throw new Error('no pool');
      },
      /^Error: no pool$/,
    ],
    ['by a record of another key', async () => ({ ...record, digests }), /record of another key/],
    ['by a record without digests', async () => ({ ...record, digests: undefined }), /digests/],
    [
      'by a record with a malformed expiry',
      async () => ({ ...record, digests: [{ digest, expiresAt: 'soon' }] }),
      /expiresAt/,
    ],
    [
      'by a record with an unknown member',
      async () => ({ ...record, disabled: true }),
      /unknown member; it accepts only/,
    ],
    ['by a list of records', async () => [record], /record of the store/],
    ['by promising true', async () => true, /record of the store/],
    ['by returning true', () => true, /record of the store/],
    ['by a number', async () => 0, /record of the store/],
    ['by false', async () => false, /record of the store/],
    ['by an empty string', async () => '', /record of the store/],
  ])('%s gets 503, is reported, and is asked again', async (_what, find, fault) => {
    const store = { findByDigest: vi.fn(find as ApiKeyStore['findByDigest']) };
    const decisions: Partial<AuthenticationDecision>[] = [];
    const listen: Guard = (exchange) => {
      exchange.authenticationListener = ({ outcome, reason }) => decisions.push({ outcome, reason });
      return undefined;
    };
    const guard = sequence(listen, authenticate(apiKeys({ store })));
    for (const calls of [1, 2]) {
      const answer = await ask(guard, { headers: [header(key)] });
      expect(seen(answer)).toEqual(UNAVAILABLE);
      expect(answer.faults.map(String)).toEqual([expect.stringMatching(fault)]);
      expectNothingOf(key.slice(20), inspect(answer.faults));
      expect(store.findByDigest).toHaveBeenCalledTimes(calls);
    }
    expect(decisions).toEqual(Array(2).fill({ outcome: 'unavailable', reason: 'key store failed' }));
  });

  it('by not answering gets 503 after a second, and its signal is aborted', async () => {
    vi.useFakeTimers();
    const { store, get, verdictNow } = service(new SlowStore());
    const first = get(key);
    const second = get(key);
    let answered = false;
    first.then(() => {
      answered = true;
    });
    await vi.advanceTimersByTimeAsync(999);
    expect([answered, store.asked[0]?.signal.aborted]).toEqual([false, false]);
    // What has arrived is read before the store counts as failed, in turns that take a millisecond each here.
    await vi.advanceTimersByTimeAsync(3);
    expect(answered).toBe(true);
    expect(seen(await first)).toEqual(UNAVAILABLE);
    expect(seen(await second)).toEqual(UNAVAILABLE);
    expect([(await first).faults, (await second).faults].map(String)).toEqual([
      expect.stringContaining('within 1000 ms'),
      '',
    ]);
    expect(store.asked[0]?.signal.aborted).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
    // A late answer is not used.
    store.asked[0]?.answer(record);
    await vi.advanceTimersByTimeAsync(0);
    expect(verdictNow(key)).toBe('pending');
    expect(store.asked.length).toBe(2);
  });

  it('leaves no timer behind if it answers', async () => {
    vi.useFakeTimers();
    const { get } = service(new RecordStore(record));
    await get(key);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('by rejecting after the timeout is not an unhandled rejection', async () => {
    vi.useFakeTimers();
    const unhandled = vi.fn();
    process.on('unhandledRejection', unhandled);
    let fail = (_error: Error): void => undefined;
    const { get } = service({
      findByDigest: () =>
        new Promise<never>((_, reject) => {
          fail = reject;
        }),
    });
    const answer = get(key);
    await vi.advanceTimersByTimeAsync(1002);
    expect((await answer).status).toBe(503);
    fail(new Error('late'));
    vi.useRealTimers();
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', unhandled);
    expect(unhandled).not.toHaveBeenCalled();
  });

  it('does not affect keys that are cached', async () => {
    const store = new RecordStore(record);
    const { get, clock } = service(store);
    await get(key);
    store.findByDigest = () => Promise.reject(new Error('database down'));
    clock.now = NOW + 29_999;
    expect((await get(key)).passed).toBe(true);
    expect((await get(wrong(1))).status).toBe(503);
    clock.now = NOW + 30_000;
    expect((await get(key)).status).toBe(503);
  });
});
