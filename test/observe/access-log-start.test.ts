import { describe, expect, it } from 'vitest';
import { apiKeys } from '../../src/auth/api-keys/api-keys.js';
import { authenticate } from '../../src/auth/authenticate.js';
import { clientIp } from '../../src/client-ip/client-ip.js';
import { sequence } from '../../src/core/sequence.js';
import { type AccessLogOptions, accessLog, type Logger } from '../../src/observe/access-log.js';
import { type AuditRecord, audit } from '../../src/observe/audit.js';
import { requestId } from '../../src/observe/request-id.js';
import { expectNoCredential } from '../canary.js';
import { type TestExchangeOptions, testExchange } from '../exchange-fixture.js';

const SECRET = 'access-log-start-c4n4ry-secret-0123456789';

interface Line {
  readonly level: string;
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

function logging(overrides: Partial<AccessLogOptions> = {}) {
  const lines: Line[] = [];
  const to = (level: string) => (fields: object, message: string) =>
    void lines.push({ level, fields: { ...fields }, message });
  const logger: Logger = { info: to('info'), warn: to('warn'), error: to('error') };
  return { lines, guard: accessLog({ logger, start: true, ...overrides }) };
}

const REQUEST: TestExchangeOptions = {
  method: 'POST',
  url: '/generate?token=secret',
  headers: [
    ['X-Request-ID', 'r-1'],
    ['X-API-Key', SECRET],
  ],
};

describe('accessLog with start', () => {
  it('writes a line while the request is under way, and another at its end, with the same id', () => {
    const { lines, guard } = logging();
    const { exchange } = testExchange(REQUEST);
    sequence(requestId(), clientIp(), guard)(exchange);
    expect(lines).toEqual([
      {
        level: 'info',
        message: 'POST /generate started',
        fields: {
          requestId: 'r-1',
          method: 'POST',
          path: '/generate',
          ip: '127.0.0.1',
          keyHash: undefined,
          cfRay: undefined,
        },
      },
    ]);
    exchange.end({ kind: 'completed', status: 200 });
    expect(lines.map(({ message }) => message)).toEqual(['POST /generate started', 'POST /generate 200']);
    expect(lines[1]?.fields.requestId).toBe('r-1');
  });

  it('hashes credentials on arrival as it does at the end, and as audit does, without a shared option', () => {
    const { lines, guard } = logging({ start: { credentials: ({ request }) => request.fieldLines('x-api-key')[0] } });
    const records: AuditRecord[] = [];
    const { exchange } = testExchange(REQUEST);
    sequence(
      requestId(),
      guard,
      audit({ sink: (record) => records.push(record) }),
      authenticate(apiKeys({ keys: [SECRET] })),
    )(exchange);
    exchange.end({ kind: 'completed', status: 200 });
    const hashes = [...lines.map(({ fields }) => fields.keyHash), ...records.map(({ keyHash }) => keyHash)];
    expect(hashes).toHaveLength(3);
    expect(hashes[0]).toMatch(/^[0-9a-f]{12}$/);
    expect(new Set(hashes).size).toBe(1);
    expectNoCredential('access log', JSON.stringify([lines, records]));
  });

  it('still hashes differently under a key of its own', () => {
    const start = { credentials: () => SECRET };
    const logs = [logging({ start }), logging({ start }), logging({ start, hashKey: 'k'.repeat(32) })];
    for (const { guard } of logs) guard(testExchange(REQUEST).exchange);
    const [one, two, other] = logs.map(({ lines }) => lines[0]?.fields.keyHash);
    expect(one).toBe(two);
    expect(one).not.toBe(other);
  });

  it('writes no line for an exchange that is skipped, and one without start', () => {
    const skipped = logging({ skip: () => true });
    const without = logging({ start: false });
    for (const { guard } of [skipped, without]) {
      const { exchange } = testExchange(REQUEST);
      guard(exchange);
      exchange.end({ kind: 'completed', status: 200 });
    }
    expect([skipped.lines.length, without.lines.length]).toEqual([0, 1]);
  });

  it.each<[string, Partial<AccessLogOptions>]>([
    [
      'a logger that throws',
      {
        logger: broken(() => {
          throw new Error('disk full');
        }),
      },
    ],
    ['a logger that rejects', { logger: broken(() => Promise.reject(new Error('disk full'))) }],
    [
      'credentials that cannot be read',
      {
        start: {
          credentials: () => {
            throw new Error('disk full');
          },
        },
      },
    ],
    [
      'a skip that throws',
      {
        skip: () => {
          throw new Error('disk full');
        },
      },
    ],
  ])('lets the request pass with %s, and reports the fault', async (_what, options) => {
    const { guard } = logging(options);
    const { exchange, faults } = testExchange(REQUEST);
    expect(sequence(guard)(exchange)).toBeUndefined();
    await Promise.resolve().then(() => undefined);
    expect(String(faults[0])).toBe('Error: disk full');
  });

  it.each<[string, unknown, string]>([
    ['a text', 'yes', 'accessLog "start" takes an object of options'],
    [
      'a misspelt member',
      { credential: () => '' },
      'accessLog "start" has no option "credential". Did you mean "credentials"?',
    ],
    ['credentials that are no function', { credentials: 'k' }, "must be a function, got 'k'"],
  ])('refuses %s for start', (_what, start, message) => {
    expect(() => logging({ start: start as boolean })).toThrow(message);
  });
});

function broken(info: () => unknown): Logger {
  return { info: info as () => void, warn: () => undefined, error: () => undefined };
}
