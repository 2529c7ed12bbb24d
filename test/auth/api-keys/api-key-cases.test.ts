import { describe, expect, it, vi } from 'vitest';
import { type ApiKeySetOptions, apiKeys } from '../../../src/auth/api-keys/api-keys.js';
import { authenticate } from '../../../src/auth/authenticate.js';
import type { Authenticator } from '../../../src/auth/authenticator.js';
import type { AuthenticationDecision } from '../../../src/core/authentication-decision.js';
import type { Guard } from '../../../src/core/guard.js';
import { sequence } from '../../../src/core/sequence.js';
import { audit } from '../../../src/observe/audit.js';
import { ask } from '../../exchange-fixture.js';
import { titleOf } from '../bearer-cases.js';
import { API_KEY_CASES, type ApiKeyCase, RECORDS, SECRETS } from './api-key-cases.js';
import { expectNothingOf, NOW, RecordStore, wire } from './key-fixture.js';

const computed = vi.hoisted(() => ({ digests: 0, comparisons: 0 }));
// Counts the calls of the real functions.
vi.mock('node:crypto', async (original) => {
  const crypto = await original<typeof import('node:crypto')>();
  return {
    ...crypto,
    hash: (...args: Parameters<typeof crypto.hash>) => {
      computed.digests++;
      return crypto.hash(...args);
    },
    timingSafeEqual: (...args: Parameters<typeof crypto.timingSafeEqual>) => {
      computed.comparisons++;
      return crypto.timingSafeEqual(...args);
    },
  };
});

interface ServiceUnderTest {
  readonly scheme: Authenticator;
  /** How often the store was asked; without a store, each digest is one look-up. */
  readonly lookups: () => number;
}

const now = () => NOW;
const services: readonly (readonly [source: string, service: () => ServiceUnderTest])[] = [
  ['a set', () => ({ scheme: apiKeys({ keys: RECORDS, now }), lookups: () => computed.digests })],
  [
    'a store',
    () => {
      const store = new RecordStore(...RECORDS);
      return { scheme: apiKeys({ store, now }), lookups: () => store.asked.length };
    },
  ],
];

/** A guard with an audit and a listener before it. */
function audited(scheme: Authenticator) {
  const records: unknown[] = [];
  const decisions: Omit<AuthenticationDecision, 'token'>[] = [];
  const listen: Guard = (exchange) => {
    exchange.authenticationListener = ({ token: _, ...decision }) => decisions.push(decision);
    return undefined;
  };
  const guard = sequence(listen, audit({ sink: (record) => records.push(record) }), authenticate(scheme));
  return { guard, records, decisions };
}

describe.each(services)('apiKeys with %s', (_source, service) => {
  it.each(API_KEY_CASES.map((testCase) => [titleOf(testCase), testCase] as const))('%s', async (_title, testCase) => {
    const { scheme, lookups } = service();
    const { guard, records, decisions } = audited(scheme);
    computed.digests = 0;
    computed.comparisons = 0;
    const answer = await ask(guard, { headers: testCase.headers, url: testCase.url ?? '/' });

    expect({
      status: answer.passed ? 200 : answer.status,
      challenge: answer.replyHeaders['WWW-Authenticate'],
      digests: computed.digests,
      comparisons: computed.comparisons,
      lookups: lookups(),
      clientId: answer.exchange.principal?.id,
      decisions: decisions.map(({ reason, clientId }) => ({ reason, clientId })),
      faults: answer.faults,
    }).toEqual({
      status: testCase.status,
      challenge: testCase.challenge === undefined ? undefined : `Bearer realm="api"${testCase.challenge}`,
      digests: testCase.lookups,
      comparisons: testCase.lookups,
      lookups: testCase.lookups,
      clientId: testCase.status === 200 ? testCase.clientId : undefined,
      decisions: [{ reason: testCase.reason, clientId: testCase.clientId }],
      faults: [],
    });
    for (const secret of SECRETS) expectNothingOf(secret, JSON.stringify([records, decisions, wire(answer)]));
  });

  it.each([[', error="invalid_token"' as const], [', error="invalid_request"' as const]])(
    'answers every refusal with %s by the same bytes',
    async (challenge) => {
      const { scheme } = service();
      const answers = new Set<string>();
      for (const { headers } of casesWith(challenge)) {
        answers.add(wire(await ask(authenticate(scheme), { headers })));
      }
      expect(answers.size).toBe(1);
    },
  );
});

function casesWith(challenge: ApiKeyCase['challenge']): readonly ApiKeyCase[] {
  const cases = API_KEY_CASES.filter((testCase) => testCase.challenge === challenge);
  expect(cases.length).toBeGreaterThan(10);
  return cases;
}

describe('a request', () => {
  const key = 'a-c4n4ry-key-that-is-known';
  const many = (count: number): ApiKeySetOptions['keys'] => [
    key,
    ...Array.from({ length: count - 1 }, (_, i) => `another-key-of-many-${i}`),
  ];

  it.each([1, 10, 1000])('costs one digest, one look-up and one comparison among %i keys', async (count) => {
    const scheme = apiKeys({ keys: many(count) });
    const get = vi.spyOn(Map.prototype, 'get');
    try {
      for (const [token, kind] of [
        [key, 'authenticated'],
        ['a-key-that-is-unknown', 'invalid'],
      ] as const) {
        Object.assign(computed, { digests: 0, comparisons: 0 });
        get.mockClear();
        const verdict = await scheme.verify(token, {} as never);
        expect({ kind: verdict.kind, ...computed, lookups: get.mock.calls.length }).toEqual({
          kind,
          digests: 1,
          comparisons: 1,
          lookups: 1,
        });
      }
    } finally {
      get.mockRestore();
    }
  });
});
