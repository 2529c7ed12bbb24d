import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { authenticate } from '../../src/auth/authenticate.js';
import { ingestToken } from '../../src/auth/ingest-token.js';
import { sharedSecret } from '../../src/auth/shared-secret.js';
import { clientIp } from '../../src/client-ip/client-ip.js';
import type { Guard } from '../../src/core/guard.js';
import { OptionError } from '../../src/core/option.js';
import type { Outcome } from '../../src/core/outcome.js';
import { sequence } from '../../src/core/sequence.js';
import { cors } from '../../src/edge/cors.js';
import { trustedHosts } from '../../src/edge/trusted-hosts.js';
import { limit } from '../../src/limit/limit.js';
import { memoryStore } from '../../src/limit/memory/memory-store.js';
import { slidingWindow } from '../../src/limit/policy.js';
import { type AccessLogFields, type AccessLogOptions, accessLog } from '../../src/observe/access-log.js';
import { requestId } from '../../src/observe/request-id.js';
import { expectNoCredential } from '../canary.js';
import { ask, type HeaderLine, type TestExchangeOptions, testExchange } from '../exchange-fixture.js';

const SECRET = 'access-log-c4n4ry-secret-0123456789-abcdef';
const bearer = (token: string): HeaderLine => ['Authorization', `Bearer ${token}`];

interface Line {
  readonly level: string;
  readonly fields: AccessLogFields;
  readonly message: string;
}

/** Sends a request, ends the exchange and returns what was logged. */
async function logged(
  guards: readonly Guard[],
  options: TestExchangeOptions = {},
  outcome: Outcome = { kind: 'completed', status: 200 },
  overrides: Partial<AccessLogOptions> = {},
) {
  const lines: Line[] = [];
  const to = (level: string) => (fields: object, message: string) =>
    void lines.push({ level, fields: fields as AccessLogFields, message });
  const logger = { info: to('info'), warn: to('warn'), error: to('error') };
  const answer = await ask(sequence(requestId(), accessLog({ logger, ...overrides }), ...guards), options);
  const { status, body, exchange } = answer;
  exchange.end(
    status === undefined ? outcome : { kind: 'refused', status, code: body === '' ? undefined : JSON.parse(body).code },
  );
  expectNoCredential('access log', JSON.stringify(lines));
  return { lines, line: lines[0], answer };
}

describe('accessLog', () => {
  it('logs one complete line when the exchange ends', async () => {
    const { lines } = await logged(
      [clientIp({ trust: ['loopback'] }), authenticate(sharedSecret({ secrets: [SECRET], clientId: 'main' }))],
      {
        method: 'POST',
        url: '/generate?token=secret',
        headers: [bearer(SECRET), ['X-Forwarded-For', '2001:db8::7'], ['X-Request-ID', 'r-1']],
      },
      { kind: 'completed', status: 201 },
    );
    expect(lines).toEqual([
      {
        level: 'info',
        message: 'POST /generate 201',
        fields: {
          requestId: 'r-1',
          method: 'POST',
          path: '/generate',
          status: 201,
          outcome: 'completed',
          code: undefined,
          duration: expect.any(Number),
          ip: '2001:db8::/64',
          principal: 'main',
          keyHash: expect.stringMatching(/^[0-9a-f]{12}$/),
          cfRay: undefined,
        },
      },
    ]);
  });

  const secret = authenticate(sharedSecret({ secrets: [SECRET] }));
  const one = () =>
    limit({ store: memoryStore(), by: 'global', policies: [slidingWindow({ limit: 1, window: '1m' })], cost: 2 });
  it.each<[string, readonly Guard[], TestExchangeOptions, Outcome, string, string]>([
    ['a 404', [], {}, { kind: 'completed', status: 404 }, 'info', 'GET / 404'],
    ['a 500', [], {}, { kind: 'completed', status: 500 }, 'error', 'GET / 500'],
    ['a client that left', [], {}, { kind: 'aborted' }, 'info', 'GET / aborted'],
    ['no credentials', [secret], {}, { kind: 'aborted' }, 'warn', 'GET / 401'],
    ['bad credentials', [secret], { headers: [bearer('x')] }, { kind: 'aborted' }, 'warn', 'GET / 401'],
    ['a limit', [one()], {}, { kind: 'aborted' }, 'warn', 'GET / 429'],
    [
      'a foreign host',
      [trustedHosts({ hosts: ['a.example'] })],
      { headers: [['Host', 'b.example']] },
      { kind: 'aborted' },
      'warn',
      'GET / 400',
    ],
    [
      'a refused preflight',
      [cors({ origin: ['https://a.example'] })],
      {
        method: 'OPTIONS',
        headers: [
          ['Origin', 'https://b.example'],
          ['Access-Control-Request-Method', 'GET'],
        ],
      },
      { kind: 'aborted' },
      'warn',
      'OPTIONS / 403',
    ],
    [
      'a preflight',
      [cors({ origin: ['https://a.example'] })],
      {
        method: 'OPTIONS',
        headers: [
          ['Origin', 'https://a.example'],
          ['Access-Control-Request-Method', 'GET'],
        ],
      },
      { kind: 'aborted' },
      'info',
      'OPTIONS / 204',
    ],
    [
      'a guard that throws',
      [
        () => {
          throw new Error('broken');
        },
      ],
      {},
      { kind: 'aborted' },
      'error',
      'GET / 500',
    ],
  ])('logs %s', async (_what, guards, options, outcome, level, message) => {
    const { lines } = await logged(guards, options, outcome);
    expect(lines.map((line) => [line.level, line.message])).toEqual([[level, message]]);
  });

  it('logs the code of a refusal', async () => {
    const { line } = await logged([secret]);
    expect(line?.fields).toMatchObject({ outcome: 'refused', code: 'credentials-missing' });
  });

  it('logs the duration in milliseconds', async () => {
    const before = performance.now();
    const { line } = await logged([
      () => {
        while (performance.now() - before < 20);
        return undefined;
      },
    ]);
    expect(line?.fields.duration).toBeGreaterThan(1);
    expect(line?.fields.duration).toBeLessThanOrEqual(performance.now() - before);
  });

  it('keeps the hash of credentials if a later guard finds none', async () => {
    const another = authenticate(ingestToken({ tokens: [SECRET] }), { optional: true });
    const { line } = await logged([secret, another], { headers: [bearer(SECRET)] });
    expect(line?.fields.keyHash).toMatch(/^[0-9a-f]{12}$/);
  });

  it('logs the hash of the credentials in both of two access logs', async () => {
    const hashes: (string | undefined)[] = [];
    const write = (fields: object) => void hashes.push((fields as AccessLogFields).keyHash);
    const second = accessLog({ logger: { info: write, warn: write, error: write } });
    const { line } = await logged([second, secret], { headers: [bearer(SECRET)] });
    for (const hash of [...hashes, line?.fields.keyHash]) expect(hash).toMatch(/^[0-9a-f]{12}$/);
    expect(hashes).toHaveLength(1);
  });

  it('logs refused credentials as a hash only, equal for equal credentials', async () => {
    const hashKey = 'access-log-c4n4ry-hash-key-0123456789-abcd';
    const hash = async (token: string) =>
      (await logged([secret], { headers: [bearer(token)] }, undefined, { hashKey })).line?.fields.keyHash;
    expect(await hash('guess')).toBe(await hash('guess'));
    expect(await hash('guess')).not.toBe(await hash('guess2'));
    expect(await hash('guess')).toBe(createHmac('sha256', hashKey).update('guess').digest('hex').slice(0, 12));
  });

  it.each<[string, readonly string[], string | undefined]>([
    ['logs a well-formed CF-Ray', ['8a1b2c3d4e5f6071-AMS'], '8a1b2c3d4e5f6071-AMS'],
    ['omits a CF-Ray with a suffix', ['8a1b2c3d4e5f6071-AMS\u0085x'], undefined],
    ['omits a CF-Ray with a prefix', ['x8a1b2c3d4e5f6071-AMS'], undefined],
    ['omits a CF-Ray in upper case', ['8A1B2C3D4E5F6071-AMS'], undefined],
    ['omits two CF-Ray lines', ['8a1b2c3d4e5f6071-AMS', '8a1b2c3d4e5f6071-AMS'], undefined],
  ])('%s', async (_what, rays, expected) => {
    const cloudflared = clientIp({ preset: 'cloudflared' });
    const headers: HeaderLine[] = [
      ['CF-Connecting-IP', '192.0.2.1'],
      ...rays.map((ray): HeaderLine => ['CF-Ray', ray]),
    ];
    expect((await logged([cloudflared], { headers })).line?.fields.cfRay).toBe(expected);
    expect((await logged([clientIp()], { headers })).line?.fields.cfRay).toBeUndefined();
  });

  it('does not log an exchange for which skip returns true', async () => {
    const { lines } = await logged([], { url: '/health' }, undefined, {
      skip: ({ request }) => request.url === '/health',
    });
    expect(lines).toEqual([]);
  });

  it('lets no request inject a line break or control character', async () => {
    // `fc.string({ unit: 'binary' })` takes seconds to build its table.
    const codePoint = fc.oneof(fc.nat(0xff), fc.nat(0xffff), fc.nat(0x10ffff));
    const text = fc.array(codePoint, { maxLength: 50 }).map((codes) => String.fromCodePoint(...codes));
    await fc.assert(
      fc.asyncProperty(text, text, text, async (path, method, id) => {
        const setPrincipal: Guard = (exchange) => {
          exchange.principal = { id, scheme: 's', scopes: [], credentialId: 'c' };
          return undefined;
        };
        const { line } = await logged([setPrincipal], { url: `/${path}`, method, headers: [['X-Request-ID', id]] });
        const shown = [
          line?.message,
          line?.fields.path,
          line?.fields.method,
          line?.fields.principal,
          line?.fields.requestId,
        ].join('');
        expect(shown).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\p{Cf}]/u);
      }),
      { numRuns: 1000 },
    );
  });

  it.each([
    ['a line feed', '\n'],
    ['an escape', '\x1b'],
    ['a control character beyond ASCII', '\u009b'],
    ['a line separator', '\u2028'],
    ['a paragraph separator', '\u2029'],
    ['a direction override', '\u202e'],
    ['a lone surrogate', '\ud800'],
  ])('replaces %s with a question mark, each time', async (_what, char) => {
    const { line } = await logged([], { url: `/a${char}b${char}c`, method: `G${char}T` });
    expect([line?.message, line?.fields.path, line?.fields.method]).toEqual(['G?T /a?b?c 200', '/a?b?c', 'G?T']);
  });

  it('logs an exchange if skip returns anything but true', async () => {
    for (const skip of [async () => true, () => 'yes', () => 1] as unknown as (() => boolean)[]) {
      expect((await logged([], {}, undefined, { skip })).lines).toHaveLength(1);
    }
  });

  it('truncates a long path', async () => {
    const { line } = await logged([], { url: `/${'x'.repeat(10_000)}` });
    expect(line?.fields.path).toHaveLength(2048);
  });

  it.each([
    ['logger', () => Promise.reject(new Error('disk full')), () => false],
    ['skip', () => undefined, (() => Promise.reject(new Error('no database'))) as never],
  ])('survives a rejected promise of %s', async (_what, write, skip) => {
    const { exchange, faults } = testExchange({});
    const logger = { info: write, warn: write, error: write };
    await sequence(accessLog({ logger, skip }))(exchange);
    exchange.end({ kind: 'completed', status: 200 });
    await new Promise((turn) => setImmediate(turn));
    expect(faults.length).toBeLessThanOrEqual(1);
  });

  it('logs the address of a client that has left, and no credentials of a target', async () => {
    let remoteAddress: string | undefined = '203.0.113.7';
    const lines: AccessLogFields[] = [];
    const write = (fields: object) => void lines.push(fields as AccessLogFields);
    const { exchange } = testExchange({ url: 'http://user:c4n4ry@example.com/a?b' });
    Object.defineProperty(exchange.request, 'remoteAddress', { get: () => remoteAddress });
    await sequence(accessLog({ logger: { info: write, warn: write, error: write } }))(exchange);
    remoteAddress = undefined;
    exchange.abort();
    expect(lines[0]).toMatchObject({ ip: '203.0.113.7', path: '/a', outcome: 'aborted' });
  });

  it('does not change the response if the logger throws', async () => {
    const fail = () => {
      throw new Error('disk full');
    };
    const { answer } = await logged([], {}, undefined, { logger: { info: fail, warn: fail, error: fail } });
    expect([answer.passed, answer.faults.map(String)]).toEqual([true, ['Error: disk full']]);
  });

  it.each<[string, object, string]>([
    ['no logger', {}, 'logger'],
    ['a logger without warn and error', { logger: { info: () => undefined } }, 'logger'],
    ['skip that is not a function', { logger: console, skip: '/health' }, 'skip'],
    ['a short hash key', { logger: console, hashKey: 'short' }, 'hashKey'],
    ['a misspelt option', { logger: console, ignore: 1 }, 'ignore'],
  ])('refuses %s at construction', (_what, options, named) => {
    const act = () => accessLog(options as AccessLogOptions);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(named);
  });
});
