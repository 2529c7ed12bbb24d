import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { type AuthenticateOptions, authenticate, type FailureLimit } from '../../src/auth/authenticate.js';
import type { Authenticator, Verdict } from '../../src/auth/authenticator.js';
import { readBearer } from '../../src/auth/bearer.js';
import { requireScope } from '../../src/auth/require-scope.js';
import { sharedSecret } from '../../src/auth/shared-secret.js';
import { clientIp } from '../../src/client-ip/client-ip.js';
import type { Guard } from '../../src/core/guard.js';
import { OptionError } from '../../src/core/option.js';
import { problem } from '../../src/core/problem.js';
import { refuse } from '../../src/core/reply.js';
import { sequence } from '../../src/core/sequence.js';
import { type AuditOptions, type AuditRecord, audit } from '../../src/observe/audit.js';
import { requestId } from '../../src/observe/request-id.js';
import { expectNoCredential } from '../canary.js';
import { ask, type HeaderLine, type TestExchangeOptions } from '../exchange-fixture.js';
import { failing } from '../failing.js';

const SECRET = 'audit-test-c4n4ry-secret-0123456789-abc';
const HASH_KEY = 'audit-test-c4n4ry-hash-key-0123456789-abc';
const bearer = (token: string): HeaderLine => ['Authorization', `Bearer ${token}`];

async function recordsOf(
  guards: readonly Guard[],
  options: TestExchangeOptions,
  overrides: Partial<AuditOptions> = {},
) {
  const records: AuditRecord[] = [];
  const sink = (record: AuditRecord) => records.push(record);
  const answer = await ask(
    sequence(audit({ sink, hashKey: HASH_KEY, now: () => 5, ...overrides }), ...guards),
    options,
  );
  expectNoCredential('audit', inspect(records));
  return { records, answer };
}

const scheme = (verdict: Verdict): Authenticator => ({
  scheme: 'test',
  challenge: 'Bearer',
  read: readBearer,
  verify: () => verdict,
});

describe('audit', () => {
  it('writes one complete record for an accepted caller', async () => {
    const { records } = await recordsOf(
      [
        requestId(),
        clientIp({ trust: ['loopback'] }),
        authenticate(sharedSecret({ secrets: [{ secret: SECRET, id: 'current' }], clientId: 'main' })),
      ],
      {
        method: 'POST',
        url: '/generate?token=not-for-the-log',
        headers: [bearer(SECRET), ['X-Forwarded-For', '192.0.2.7'], ['X-Request-ID', 'r-1']],
      },
    );
    expect(records).toEqual([
      {
        at: 5,
        outcome: 'allowed',
        reason: 'verified',
        scheme: 'shared-secret',
        credentialId: 'current',
        keyHash: expect.stringMatching(/^[0-9a-f]{12}$/),
        clientId: 'main',
        ip: '192.0.2.7',
        requestId: 'r-1',
        method: 'POST',
        path: '/generate',
      },
    ]);
  });

  const limited = (answer: 429 | 503): FailureLimit => ({
    check: () => refuse(problem(answer === 429 ? 'authentication-throttled' : 'store-unavailable')),
    failed: () => undefined,
  });
  const invalid: Verdict = { kind: 'invalid', reason: 'revoked', credentialId: 'k1', clientId: 'c1' };
  const cases: readonly (readonly [
    what: string,
    verdict: Verdict,
    headers: readonly HeaderLine[],
    options: AuthenticateOptions,
    expected: Partial<AuditRecord>,
  ])[] = [
    ['missing credentials', invalid, [], {}, { outcome: 'refused', reason: 'missing' }],
    [
      'missing credentials that are optional',
      invalid,
      [],
      { optional: true },
      { outcome: 'allowed', reason: 'optional' },
    ],
    [
      'malformed credentials',
      invalid,
      [['Authorization', 'Bearer']],
      {},
      { outcome: 'refused', reason: 'malformed', scheme: 'test' },
    ],
    [
      'repeated credentials',
      invalid,
      [bearer('T'), bearer('T')],
      {},
      { outcome: 'refused', reason: 'repeated', scheme: 'test' },
    ],
    [
      'credentials that are too long',
      invalid,
      [bearer('T'.repeat(8193))],
      {},
      { outcome: 'refused', reason: 'too large', scheme: 'test' },
    ],
    [
      'invalid credentials, with the ids of the key and the client',
      invalid,
      [bearer('T')],
      {},
      { outcome: 'refused', reason: 'revoked', scheme: 'test', credentialId: 'k1', clientId: 'c1' },
    ],
    [
      'credentials of no configured scheme',
      { kind: 'absent' },
      [bearer('T')],
      {},
      { outcome: 'refused', reason: 'unrecognized' },
    ],
    [
      'credentials that cannot be checked',
      { kind: 'unavailable', reason: 'timeout' },
      [bearer('T')],
      {},
      { outcome: 'unavailable', reason: 'timeout', scheme: 'test' },
    ],
    [
      'credentials for a body that is too large',
      { kind: 'content-too-large' },
      [bearer('T')],
      {},
      { outcome: 'refused', reason: 'content-too-large', scheme: 'test' },
    ],
    [
      'credentials after too many failures',
      invalid,
      [bearer('T')],
      { failedAuthLimit: limited(429) },
      { outcome: 'refused', reason: 'throttled', scheme: 'test', keyHash: expect.stringMatching(/^[0-9a-f]{12}$/) },
    ],
    [
      'credentials if failures cannot be counted',
      invalid,
      [bearer('T')],
      { failedAuthLimit: limited(503) },
      { outcome: 'unavailable', reason: 'throttled', scheme: 'test', keyHash: expect.stringMatching(/^[0-9a-f]{12}$/) },
    ],
  ];
  it.each(cases)('writes one record for %s', async (_what, verdict, headers, options, expected) => {
    const { records } = await recordsOf([authenticate(scheme(verdict), options)], { headers });
    expect(records).toHaveLength(1);
    expect(records[0]).toMatchObject(expected);
  });

  it('writes a record for a missing scope', async () => {
    const { records } = await recordsOf([authenticate(sharedSecret({ secrets: [SECRET] })), requireScope('admin')], {
      headers: [bearer(SECRET)],
    });
    expect(records.map(({ outcome, reason }) => [outcome, reason])).toEqual([
      ['allowed', 'verified'],
      ['refused', 'insufficient scope'],
    ]);
  });

  it('hashes equal credentials to equal hashes, which depend on the key', async () => {
    const hashOf = async (token: string, overrides: Partial<AuditOptions> = {}) =>
      (await recordsOf([authenticate(scheme(invalid))], { headers: [bearer(token)] }, overrides)).records[0]?.keyHash;
    const hash = await hashOf('abcdef0123456789');
    expect(await hashOf('abcdef0123456789')).toBe(hash);
    expect(await hashOf('abcdef0123456788')).not.toBe(hash);
    expect(await hashOf('abcdef0123456789', { hashKey: `${HASH_KEY}2` })).not.toBe(hash);
  });

  it('shares one random hash key among all guards of the process', async () => {
    const hashes = new Set<string | undefined>();
    for (let i = 0; i < 2; i++) {
      const records: AuditRecord[] = [];
      const guard = sequence(audit({ sink: (record) => records.push(record) }), authenticate(scheme(invalid)));
      await ask(guard, { headers: [bearer('T')] });
      hashes.add(records[0]?.keyHash);
    }
    expect(hashes.size).toBe(1);
  });

  it('contains no credential and no part of one', async () => {
    const { records } = await recordsOf([authenticate(scheme(invalid))], {
      url: `/a?access_token=${SECRET}`,
      headers: [bearer(SECRET)],
    });
    expect(inspect(records, { depth: 9 })).not.toContain(SECRET.slice(0, 6));
  });

  it.each([
    ['a line feed', '\n'],
    ['an escape', '\x1b'],
    ['a next line', '\u0085'],
    ['a control sequence introducer in one byte', '\u009b'],
    ['a delete', '\x7f'],
    ['a line separator', '\u2028'],
    ['a change of the writing direction', '\u202e'],
    ['half a surrogate pair', '\ud800'],
  ])('contains no %s', async (_what, character) => {
    const text = `a${character}b`;
    const verdict: Verdict = { kind: 'invalid', reason: 'revoked', credentialId: text, clientId: text };
    const request = { method: text, url: `/${text}?${text}`, headers: [bearer('T')] };
    const { records } = await recordsOf([authenticate(scheme(verdict))], request);
    expect(records[0]).toMatchObject({ method: 'a?b', path: '/a?b', credentialId: 'a?b', clientId: 'a?b' });
  });

  it('keeps the readable characters of a path, up to 2048', async () => {
    const path = async (url: string) =>
      (await recordsOf([authenticate(scheme(invalid))], { url, headers: [bearer('T')] })).records[0]?.path;
    expect(await path('/caf\u00e9/%0A/\u{1f600}')).toBe('/caf\u00e9/%0A/\u{1f600}');
    expect(await path(`/${'x'.repeat(5000)}`)).toBe(`/${'x'.repeat(2047)}`);
  });

  it('waits for the status of the response if it should, in the order of the decisions', async () => {
    const guards = [authenticate(sharedSecret({ secrets: [SECRET] })), requireScope('admin')];
    const request = { url: '/admin?x=1', headers: [bearer(SECRET)] };
    let time = 5;
    const { records, answer } = await recordsOf(guards, request, { waitForStatus: true, now: () => time });
    time = 9;
    expect(records).toEqual([]);
    answer.exchange.end({ kind: 'refused', status: answer.status ?? 0, code: 'scope-missing' });
    answer.exchange.end({ kind: 'completed', status: 200 });
    expect(records).toMatchObject([
      { outcome: 'allowed', reason: 'verified', status: 403, at: 5, path: '/admin' },
      { outcome: 'refused', reason: 'insufficient scope', status: 403, at: 5 },
    ]);
    expectNoCredential('audit', inspect(records));
  });

  it('has no status if the client left before the response was complete', async () => {
    const { records, answer } = await recordsOf(
      [authenticate(sharedSecret({ secrets: [SECRET] }))],
      { headers: [bearer(SECRET)] },
      { waitForStatus: true },
    );
    answer.exchange.abort();
    expect(records).toMatchObject([{ outcome: 'allowed', status: undefined }]);
  });

  it('has no status at the decision, which is when it is written by default', async () => {
    const { records } = await recordsOf([authenticate(scheme(invalid))], { headers: [bearer('T')] });
    expect(records).toHaveLength(1);
    expect(records[0]).not.toHaveProperty('status');
  });

  it('reports a sink that fails when the status is known, and writes the other records', async () => {
    const written: string[] = [];
    const sink = ({ reason }: AuditRecord) => {
      written.push(reason);
      throw new Error('disk full');
    };
    const guards = [authenticate(sharedSecret({ secrets: [SECRET] })), requireScope('admin')];
    const { answer } = await recordsOf(guards, { headers: [bearer(SECRET)] }, { sink, waitForStatus: true });
    answer.exchange.end({ kind: 'refused', status: 403, code: undefined });
    expect(written).toEqual(['verified', 'insufficient scope']);
    expect(answer.faults.map(String)).toEqual(['Error: disk full', 'Error: disk full']);
  });

  it('can be used twice in a sequence', async () => {
    const outer: AuditRecord[] = [];
    const { records } = await recordsOf(
      [audit({ sink: (record) => outer.push(record) }), authenticate(scheme(invalid))],
      { headers: [bearer('T')] },
    );
    expect([records.length, outer.length]).toEqual([1, 1]);
  });

  it.each(failing('disk full'))('does not change the response if the sink %s', async (_what, sink) => {
    const refused: Awaited<ReturnType<typeof recordsOf>> = await recordsOf(
      [authenticate(scheme(invalid))],
      { headers: [bearer('T')] },
      { sink },
    );
    expect(refused.answer.status).toBe(401);
    const passed: Awaited<ReturnType<typeof recordsOf>> = await recordsOf(
      [authenticate(sharedSecret({ secrets: [SECRET] }))],
      { headers: [bearer(SECRET)] },
      { sink },
    );
    await Promise.resolve();
    expect(passed.answer.passed).toBe(true);
    expect(passed.answer.faults.map(String)).toEqual(['Error: disk full']);
  });

  it.each<[string, object, string]>([
    ['no sink', {}, 'sink'],
    ['a sink that is not a function', { sink: 'audit.log' }, 'sink'],
    ['a short hash key', { sink: () => undefined, hashKey: 'too-short-to-be-a-key' }, 'hashKey'],
    ['a hash key of 31 characters', { sink: () => undefined, hashKey: 'too-short'.padEnd(31, 'x') }, 'hashKey'],
    ['a clock that is not a function', { sink: () => undefined, now: 5 }, 'now'],
    ['a misspelt option', { sink: () => undefined, hashkey: HASH_KEY }, 'hashkey'],
  ])('refuses %s at construction', (_what, options, named) => {
    const act = () => audit(options as unknown as AuditOptions);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(named);
    expect(act).not.toThrow(/too-short/);
  });
});
