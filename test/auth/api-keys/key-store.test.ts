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

/** A service over a store, at a time of its own. */
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
    /** Whether the key came in, and how often the store has been asked. */
    passes: async (token: string, asked: () => number) => [(await get(token)).passed, asked()] as const,
    /** Whether the answer was there without waiting. */
    atOnce: (token: string) => {
      const verdict = scheme.verify(token, testExchange().exchange);
      return verdict instanceof Promise ? 'later' : verdict.kind;
    },
  };
}

/** A store whose every answer is given by hand. */
class SlowStore implements ApiKeyStore {
  readonly asked: { digest: string; signal: AbortSignal; answer: (found?: ApiKeyRecord) => void }[] = [];

  findByDigest(digest: string, signal: AbortSignal): Promise<ApiKeyRecord | undefined> {
    return new Promise((answer) => this.asked.push({ digest, signal, answer }));
  }
}

describe('what a store says', () => {
  it('is asked for by the digest, and never by the key', async () => {
    const { store, get } = service(new RecordStore(record));
    expect((await get(key)).exchange.principal?.id).toBe('acme');
    expect(store.asked).toEqual([digest]);
  });

  it('is asked for under the pepper', async () => {
    const pepper = 'Pq8-c4n4ry-p3pp3r-Xz7-9876543210-Vw6-QqQ';
    const peppered = generateApiKey({ pepper });
    const { store, get } = service(new RecordStore(peppered.record), { pepper });
    expect((await get(peppered.key)).passed).toBe(true);
    expect(store.asked).toEqual([digestApiKey(peppered.key, { pepper })]);
  });

  it('is good for 30 seconds, and then asked for again', async () => {
    const { store, clock, passes, atOnce } = service(new RecordStore(record));
    const asked = () => store.asked.length;
    expect(await passes(key, asked)).toEqual([true, 1]);
    store.records = [];
    clock.now = NOW + 29_999;
    expect(await passes(key, asked)).toEqual([true, 1]);
    expect(atOnce(key)).toBe('authenticated');
    clock.now = NOW + 30_000;
    expect(await passes(key, asked)).toEqual([false, 2]);
  });

  it('about an unknown key is good for 5 seconds', async () => {
    const { store, clock, passes, atOnce } = service(new RecordStore());
    const asked = () => store.asked.length;
    expect(await passes(key, asked)).toEqual([false, 1]);
    store.records = [record];
    clock.now = NOW + 4999;
    expect(await passes(key, asked)).toEqual([false, 1]);
    expect(atOnce(key)).toBe('invalid');
    clock.now = NOW + 5000;
    expect(await passes(key, asked)).toEqual([true, 2]);
    // What is known now counts for 30 seconds, and no longer as unknown.
    clock.now = NOW + 9999;
    expect(await passes(key, asked)).toEqual([true, 2]);
  });

  it('counts from when it was asked, however late it answered', async () => {
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
    ['how long', { cache: { maxAge: '2s' }, missCache: { maxAge: '1s' } } as const, 2000, 1000],
    ['not at all', { cache: false, missCache: false } as const, 0, 0],
  ])('is remembered %s as set', async (_what, options, hit, miss) => {
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

  it('is asked for again where the clock has jumped back', async () => {
    const { store, clock, passes } = service(new RecordStore(record));
    const asked = () => store.asked.length;
    await passes(key, asked);
    clock.now = NOW - 1;
    expect(await passes(key, asked)).toEqual([true, 2]);
  });

  it.each([
    ['good, then revoked', [record], [], 30_000, false],
    ['unknown, then good', [], [record], 5000, true],
  ])('is what it said last, wherever the clock jumps: %s', async (_what, before, after, length, passed) => {
    const { store, clock, passes } = service(new RecordStore(...before));
    const asked = () => store.asked.length;
    expect(await passes(key, asked)).toEqual([!passed, 1]);
    store.records = after;
    clock.now = NOW + length;
    expect(await passes(key, asked)).toEqual([passed, 2]);
    clock.now = NOW + 1;
    expect(await passes(key, asked)).toEqual([passed, 3]);
  });

  it('may be null where there is no such key', async () => {
    const { get } = service({ findByDigest: async () => null });
    const { status, faults } = await get(key);
    expect([status, faults]).toEqual([401, []]);
  });

  it('is checked against the clock with every request, remembered or not', async () => {
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

  it('may be that the record is disabled', async () => {
    const { store, passes, atOnce } = service(new RecordStore({ ...record, enabled: false }));
    expect(await passes(key, () => store.asked.length)).toEqual([false, 1]);
    expect(atOnce(key)).toBe('invalid');
  });

  it('is asked for once while any number wait for it', async () => {
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

describe('the memory of what a store said', () => {
  it('of good keys is not washed out by a flood of wrong ones', async () => {
    const { store, get, atOnce } = service(new RecordStore(record), {
      cache: { maxEntries: 2 },
      missCache: { maxEntries: 10 },
    });
    await get(key);
    for (let i = 0; i < 100; i++) await get(wrong(i));
    expect(store.asked.length).toBe(101);
    expect(atOnce(key)).toBe('authenticated');
  });

  it('is bounded, for good keys and for wrong ones', async () => {
    const others = Array.from({ length: 3 }, () => generateApiKey());
    const records = [record, ...others.map((other) => other.record)];
    const { get, atOnce } = service(new RecordStore(...records), {
      cache: { maxEntries: 3 },
      missCache: { maxEntries: 4 },
    });
    for (const of of [made, ...others]) await get(of.key);
    expect([made, ...others].map((of) => atOnce(of.key))).toEqual(['later', ...Array(3).fill('authenticated')]);
    for (let i = 0; i < 5; i++) await get(wrong(i));
    expect([0, 1, 2, 3, 4].map((i) => atOnce(wrong(i)))).toEqual(['later', ...Array(4).fill('invalid')]);
  });
});

describe('invalidate', () => {
  const second = generateApiKey({ clientId: 'acme' });
  const both: ApiKeyRecord = { ...record, digests: [...record.digests, ...second.record.digests] };
  const other = generateApiKey({ clientId: 'other' });

  it.each<
    readonly [what: string, forget: (scheme: ReturnType<typeof service>['scheme']) => void, kept: readonly string[]]
  >([
    [
      'a digest forgets that key',
      (scheme) => scheme.invalidate(digest),
      ['later', 'authenticated', 'authenticated', 'invalid'],
    ],
    [
      'an id forgets every key of the record',
      (scheme) => scheme.invalidate(record.id),
      ['later', 'later', 'authenticated', 'invalid'],
    ],
    [
      'a wrong digest forgets that it is wrong',
      (scheme) => scheme.invalidate(digestApiKey(wrong(0))),
      ['authenticated', 'authenticated', 'authenticated', 'later'],
    ],
    [
      'what is not known forgets nothing',
      (scheme) => scheme.invalidate('acme'),
      ['authenticated', 'authenticated', 'authenticated', 'invalid'],
    ],
    ['all forgets all', (scheme) => scheme.invalidateAll(), ['later', 'later', 'later', 'later']],
  ])('%s', async (_what, forget, kept) => {
    const { scheme, get, atOnce } = service(new RecordStore(both, other.record));
    const tokens = [key, second.key, other.key, wrong(0)];
    for (const token of tokens) await get(token);
    forget(scheme);
    expect(tokens.map(atOnce)).toEqual(kept);
  });

  it.each<readonly [what: string, forget: (scheme: ReturnType<typeof service>['scheme']) => void]>([
    ['of the digest', (scheme) => scheme.invalidate(digest)],
    ['of the record', (scheme) => scheme.invalidate(record.id)],
    ['of all', (scheme) => scheme.invalidateAll()],
  ])('%s while the store is being asked lets nothing old be remembered or joined', async (_what, forget) => {
    const { store, scheme, get, atOnce } = service(new SlowStore());
    const before = get(key);
    forget(scheme);
    const after = get(key);
    expect(store.asked.length).toBe(2);
    store.asked[0]?.answer(record);
    expect((await before).passed).toBe(true);
    // The second is still under way: what the first one said is not known any more.
    expect(atOnce(key)).toBe('later');
    expect(store.asked.length).toBe(2);
    store.asked[1]?.answer();
    expect((await after).status).toBe(401);
    expect(atOnce(key)).toBe('invalid');
  });
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
      'by a record with an end that is none',
      async () => ({ ...record, digests: [{ digest, expiresAt: 'soon' }] }),
      /expiresAt/,
    ],
    ['by a record of more than is known', async () => ({ ...record, disabled: true }), /knows only/],
    ['by a list of records', async () => [record], /record of the store/],
    ['by saying true', async () => true, /record of the store/],
    ['by saying true at once', () => true, /record of the store/],
    ['by a number', async () => 0, /record of the store/],
    ['by false', async () => false, /record of the store/],
    ['by an empty text', async () => '', /record of the store/],
  ])('%s is answered with 503, reported, and asked again', async (_what, find, fault) => {
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

  it('by not answering is answered with 503 after a second, told to stop, and not waited for', async () => {
    vi.useFakeTimers();
    const { store, get, atOnce } = service(new SlowStore());
    const first = get(key);
    const second = get(key);
    let answered = false;
    first.then(() => {
      answered = true;
    });
    await vi.advanceTimersByTimeAsync(999);
    expect([answered, store.asked[0]?.signal.aborted]).toEqual([false, false]);
    await vi.advanceTimersByTimeAsync(1);
    expect(answered).toBe(true);
    expect(seen(await first)).toEqual(UNAVAILABLE);
    expect(seen(await second)).toEqual(UNAVAILABLE);
    expect([(await first).faults, (await second).faults].map(String)).toEqual([
      expect.stringContaining('within 1000 ms'),
      '',
    ]);
    expect(store.asked[0]?.signal.aborted).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
    // What it says too late is worth nothing.
    store.asked[0]?.answer(record);
    await vi.advanceTimersByTimeAsync(0);
    expect(atOnce(key)).toBe('later');
    expect(store.asked.length).toBe(2);
  });

  it('leaves no timer behind where it answers', async () => {
    vi.useFakeTimers();
    const { get } = service(new RecordStore(record));
    await get(key);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('too late is not an unhandled rejection', async () => {
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
    await vi.advanceTimersByTimeAsync(1000);
    expect((await answer).status).toBe(503);
    fail(new Error('late'));
    vi.useRealTimers();
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', unhandled);
    expect(unhandled).not.toHaveBeenCalled();
  });

  it('does not harm whom it has told of before', async () => {
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
