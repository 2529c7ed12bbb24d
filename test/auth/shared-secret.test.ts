import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { authenticate } from '../../src/auth/authenticate.js';
import type { Authenticator } from '../../src/auth/authenticator.js';
import { type SharedSecretOptions, sharedSecret } from '../../src/auth/shared-secret.js';
import { OptionError } from '../../src/core/option.js';
import { problemFormat } from '../../src/core/problem-format.js';
import { sequence } from '../../src/core/sequence.js';
import { type Answer, ask, type HeaderLine } from '../exchange-fixture.js';

const SECRET = 'Zk9-c4n4ry_secret.for~tests+0123/AB==';
const EARLIER = 'Zk9-earlier_secret.for~tests+4567/CD';
const WRONG = 'Qw7-another_secret.for~tests+89/EFGHIJ';
const NOW = 1_760_000_000_000;

const bearer = (token: string): readonly HeaderLine[] => [['Authorization', `Bearer ${token}`]];
const authorization = (...lines: readonly string[]): readonly HeaderLine[] =>
  lines.map((line) => ['Authorization', line]);

/** A shared secret that counts the calls of its `verify`. */
function counted(options: SharedSecretOptions): { scheme: Authenticator; calls: () => number } {
  const scheme = sharedSecret(options);
  let calls = 0;
  return {
    scheme: {
      ...scheme,
      verify(token, exchange) {
        calls++;
        return scheme.verify(token, exchange);
      },
    },
    calls: () => calls,
  };
}

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly challenge: string | undefined;
}

const MISSING: Refusal = { status: 401, code: 'credentials-missing', challenge: 'Bearer realm="api"' };
const MALFORMED: Refusal = {
  status: 400,
  code: 'credentials-malformed',
  challenge: 'Bearer realm="api", error="invalid_request"',
};
const INVALID: Refusal = {
  status: 401,
  code: 'credentials-invalid',
  challenge: 'Bearer realm="api", error="invalid_token"',
};
const TOO_LARGE: Refusal = { status: 431, code: 'credentials-too-large', challenge: undefined };

function refusalOf({ status, body, replyHeaders }: Answer): Refusal {
  const { code } = JSON.parse(body) as { code: string };
  return { status: status ?? 0, code, challenge: replyHeaders['WWW-Authenticate'] };
}

describe('a bearer credential', () => {
  const accepted: readonly (readonly [sent: string, headers: readonly HeaderLine[]])[] = [
    ['Bearer T', authorization(`Bearer ${SECRET}`)],
    ['bearer T', authorization(`bearer ${SECRET}`)],
    ['BEARER T', authorization(`BEARER ${SECRET}`)],
    ['bEaReR T', authorization(`bEaReR ${SECRET}`)],
    ['Bearer and T, separated by two spaces', authorization(`Bearer  ${SECRET}`)],
    ['Bearer and T, separated by nine spaces', authorization(`Bearer         ${SECRET}`)],
    ['a header name in lower case', [['authorization', `Bearer ${SECRET}`]]],
    ['Bearer T next to an X-API-Key, which this scheme does not read', [...bearer(SECRET), ['X-API-Key', WRONG]]],
  ];

  it.each(accepted)('is accepted as %s', async (_sent, headers) => {
    const { passed, exchange, faults } = await ask(authenticate(sharedSecret({ secrets: [SECRET] })), { headers });
    expect({ passed, faults }).toEqual({ passed: true, faults: [] });
    expect(exchange.principal).toEqual({
      id: 'shared-secret',
      scheme: 'shared-secret',
      scopes: [],
      credentialId: 'secret-1',
    });
  });

  const refused: readonly (readonly [sent: string, headers: readonly HeaderLine[], expected: Refusal])[] = [
    ['no header', [], MISSING],
    ['a blank header', authorization(''), MISSING],
    ['Basic', authorization(`Basic ${Buffer.from(`user:${SECRET}`).toString('base64')}`), MISSING],
    ['Digest', authorization(`Digest username="${SECRET}"`), MISSING],
    ['the bare secret', authorization(SECRET), MISSING],
    ['Bea T', authorization(`Bea ${SECRET}`), MISSING],
    ['X-API-Key', [['X-API-Key', SECRET]], MISSING],
    ['Proxy-Authorization', [['Proxy-Authorization', `Bearer ${SECRET}`]], MISSING],
    ['Cookie', [['Cookie', `access_token=${SECRET}`]], MISSING],
    ['Bearer', authorization('Bearer'), MALFORMED],
    ['Bearer and a space', authorization('Bearer '), MALFORMED],
    ['BearerT', authorization(`Bearer${SECRET}`), MALFORMED],
    ['Bearer, TAB, T', authorization(`Bearer\t${SECRET}`), MALFORMED],
    ['Bearer, space, TAB, T', authorization(`Bearer \t${SECRET}`), MALFORMED],
    ['Bearer, no-break space, T', authorization(`Bearer\u00a0${SECRET}`), MALFORMED],
    ['Bearer T x', authorization(`Bearer ${SECRET} x`), MALFORMED],
    ['Bearer T and a space', authorization(`Bearer ${SECRET} `), MALFORMED],
    ['Bearer T, Bearer T', authorization(`Bearer ${SECRET}, Bearer ${SECRET}`), MALFORMED],
    ['Bearer T,', authorization(`Bearer ${SECRET},`), MALFORMED],
    ['Bearer: T', authorization(`Bearer: ${SECRET}`), MALFORMED],
    ['Bearer=T', authorization(`Bearer=${SECRET}`), MALFORMED],
    ['Bearer "T"', authorization(`Bearer "${SECRET}"`), MALFORMED],
    ["Bearer 'T'", authorization(`Bearer '${SECRET}'`), MALFORMED],
    ['Bearer ==', authorization('Bearer =='), MALFORMED],
    ['Bearer T=x', authorization(`Bearer ${SECRET}x`), MALFORMED],
    ['Bearer with a NUL', authorization(`Bearer ${SECRET}\0`), MALFORMED],
    ['Bearer with a line feed', authorization(`Bearer ${SECRET}\n`), MALFORMED],
    ['Bearer with a letter of Latin-1', authorization(`Bearer ${WRONG}\u00e9`), MALFORMED],
    ['two equal Authorization lines', authorization(`Bearer ${SECRET}`, `Bearer ${SECRET}`), MALFORMED],
    ['the secret, then Basic', authorization(`Bearer ${SECRET}`, 'Basic eDp5'), MALFORMED],
    ['Basic, then the secret', authorization('Basic eDp5', `Bearer ${SECRET}`), MALFORMED],
    ['a blank line, then the secret', authorization('', `Bearer ${SECRET}`), MALFORMED],
    ['another secret', bearer(WRONG), INVALID],
    ['a secret without its last character', bearer(EARLIER.slice(0, -1)), INVALID],
    ['a secret without its first character', bearer(EARLIER.slice(1)), INVALID],
    ['a secret with one more character', bearer(`${EARLIER}E`), INVALID],
    ['a secret after one more character', bearer(`E${EARLIER}`), INVALID],
    ['a secret with one more =', bearer(`${SECRET}=`), INVALID],
    ['a secret with one fewer =', bearer(SECRET.slice(0, -1)), INVALID],
    ['a secret in the other case', bearer(EARLIER.toUpperCase()), INVALID],
    ['a digest', bearer('0'.repeat(64)), INVALID],
    ['__proto__', bearer('__proto__'), INVALID],
    ['8,192 characters', bearer('A'.repeat(8192)), INVALID],
    ['8,193 characters', bearer('A'.repeat(8193)), TOO_LARGE],
    ['12 KB', bearer('A'.repeat(12 * 1024)), TOO_LARGE],
    ['12 KB that begin with the secret', bearer(EARLIER + 'A'.repeat(12 * 1024)), TOO_LARGE],
  ];

  it.each(refused)('is refused as %s', async (_sent, headers, expected) => {
    const { scheme, calls } = counted({ secrets: [SECRET, EARLIER] });
    const answer = await ask(authenticate(scheme), { headers });
    expect(refusalOf(answer)).toEqual(expected);
    expect(answer.exchange.principal).toBeUndefined();
    expect(answer.faults).toEqual([]);
    // Only one well-formed credential of acceptable length is hashed.
    expect(calls()).toBe(expected === INVALID ? 1 : 0);
  });

  it.each(['access_token', 'token', 'api_key'])('is not read from the query parameter %s', async (name) => {
    const url = `/generate?${name}=${encodeURIComponent(SECRET)}`;
    expect(refusalOf(await ask(authenticate(sharedSecret({ secrets: [SECRET] })), { url }))).toEqual(MISSING);
  });

  it('is refused if any one character is in the other case', async () => {
    const guard = authenticate(sharedSecret({ secrets: [SECRET, EARLIER] }));
    for (const secret of [SECRET, EARLIER]) {
      for (let i = 0; i < secret.length; i++) {
        const char = secret.charAt(i);
        const flipped = char === char.toUpperCase() ? char.toLowerCase() : char.toUpperCase();
        if (flipped === char) continue;
        const answer = await ask(guard, { headers: bearer(secret.slice(0, i) + flipped + secret.slice(i + 1)) });
        expect(refusalOf(answer)).toEqual(INVALID);
      }
    }
  });

  it('is accepted if and only if it is one of the secrets', async () => {
    const guard = authenticate(sharedSecret({ secrets: [SECRET, EARLIER] }));
    const token = fc.oneof(
      fc.constantFrom(SECRET, EARLIER),
      fc
        .tuple(fc.constantFrom(SECRET, EARLIER), fc.nat(40), fc.string({ maxLength: 2 }))
        .map(([secret, at, put]) => secret.slice(0, at) + put + secret.slice(at + 1)),
      fc.string(),
    );
    await fc.assert(
      fc.asyncProperty(token, async (text) => {
        const { passed } = await ask(guard, { headers: bearer(text) });
        // Spaces before the token belong to the separator.
        expect(passed).toBe([SECRET, EARLIER].includes(text.replace(/^ +/, '')));
      }),
      { numRuns: 1000 },
    );
  });
});

describe('rotation', () => {
  function guardAt(now: number) {
    return authenticate(
      sharedSecret({
        secrets: [SECRET, { secret: EARLIER, id: 'before-june', expiresAt: new Date(NOW) }],
        clientId: 'main-server',
        scopes: ['generate'],
        now: () => now,
      }),
    );
  }

  it('accepts the current secret and an earlier one, as the same client', async () => {
    const guard = guardAt(NOW - 1);
    const current = await ask(guard, { headers: bearer(SECRET) });
    const earlier = await ask(guard, { headers: bearer(EARLIER) });
    const client = { id: 'main-server', scheme: 'shared-secret', scopes: ['generate'] };
    expect(current.exchange.principal).toEqual({ ...client, credentialId: 'secret-1' });
    expect(earlier.exchange.principal).toEqual({ ...client, credentialId: 'before-june', expiresAt: NOW });
  });

  it.each([
    ['accepts an earlier secret one millisecond before it expires', NOW - 1, true],
    ['refuses an earlier secret exactly when it expires', NOW, false],
    ['refuses an earlier secret one millisecond after it expired', NOW + 1, false],
  ])('%s', async (_promise, now, passes) => {
    const answer = await ask(guardAt(now), { headers: bearer(EARLIER) });
    expect(answer.passed).toBe(passes);
    if (!passes) expect(refusalOf(answer)).toEqual(INVALID);
    expect((await ask(guardAt(now), { headers: bearer(SECRET) })).passed).toBe(true);
  });

  it.each([SECRET, EARLIER])('accepts no secret while the clock returns NaN: %#', async (secret) => {
    expect((await ask(guardAt(Number.NaN), { headers: bearer(secret) })).status).toBe(401);
  });

  it('uses the system clock by default', async () => {
    const ending = (expiresAt: Date) => authenticate(sharedSecret({ secrets: [{ secret: SECRET, expiresAt }] }));
    expect((await ask(ending(new Date(Date.now() + 3_600_000)), { headers: bearer(SECRET) })).passed).toBe(true);
    expect((await ask(ending(new Date(Date.now() - 1)), { headers: bearer(SECRET) })).status).toBe(401);
  });

  it.each([
    ['a Date', new Date(NOW)],
    ['an ISO 8601 string', new Date(NOW).toISOString()],
    ['epoch milliseconds', NOW],
  ])('accepts %s as the expiry', async (_what, expiresAt) => {
    let time = NOW - 1;
    const guard = authenticate(sharedSecret({ secrets: [{ secret: SECRET, expiresAt }], now: () => time }));
    const { passed, exchange } = await ask(guard, { headers: bearer(SECRET) });
    expect([passed, exchange.principal?.expiresAt]).toEqual([true, NOW]);
    time = NOW;
    expect((await ask(guard, { headers: bearer(SECRET) })).status).toBe(401);
  });

  it('answers an expired secret and an unknown one with the same bytes', async () => {
    const unknown = await ask(guardAt(NOW), { headers: bearer(WRONG) });
    const expired = await ask(guardAt(NOW), { headers: bearer(EARLIER) });
    const wire = ({ status, replyHeaders, body, contentType, headers }: Answer) =>
      JSON.stringify({ status, replyHeaders, body, contentType, set: headers.all() });
    expect(wire(expired)).toBe(wire(unknown));
    expect(refusalOf(expired)).toEqual(INVALID);
  });

  it('names the secrets by their position, and returns a frozen principal', async () => {
    const scopes = ['generate'];
    const guard = authenticate(sharedSecret({ secrets: [SECRET, EARLIER], scopes }));
    scopes.push('admin');
    const { exchange } = await ask(guard, { headers: bearer(EARLIER) });
    expect(exchange.principal).toMatchObject({ credentialId: 'secret-2', scopes: ['generate'] });
    expect(Object.isFrozen(exchange.principal)).toBe(true);
    expect(Object.isFrozen(exchange.principal?.scopes)).toBe(true);
  });
});

function errorOf(options: unknown): unknown {
  try {
    sharedSecret(options as SharedSecretOptions);
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

describe('construction', () => {
  const at = (i: number, entry: unknown) => [...Array.from({ length: i }, (_, n) => `${n}${SECRET}`), entry];

  const refused: readonly (readonly [what: string, options: unknown, ...named: string[]])[] = [
    ['missing secrets', {}, 'secrets'],
    ['an empty list', { secrets: [] }, 'secrets', 'openssl rand -hex 32'],
    ['a secret that is not in a list', { secrets: SECRET }, 'secrets'],
    ['a list instead of options', [SECRET], 'sharedSecret'],
    ['a secret instead of options', SECRET, 'sharedSecret'],
    ['an empty secret', { secrets: [''] }, 'secrets[0]" is empty', '32', 'openssl rand -hex 32'],
    ['31 characters', { secrets: at(1, SECRET.slice(0, 31)) }, 'secrets[1]', '32', 'openssl rand -hex 32'],
    ['undefined, from an unset variable', { secrets: [undefined] }, 'secrets[0]" is not set', 'openssl rand -hex 32'],
    ['undefined next to a secret', { secrets: at(1, undefined) }, 'secrets[1]" is not set', '32'],
    ['an entry with an unset variable', { secrets: [{ secret: undefined, id: 'a' }] }, 'secrets[0]" is not set', '32'],
    ['null', { secrets: at(2, null) }, 'secrets[2]', '32'],
    ['a number', { secrets: [1234567890123456] }, 'secrets[0]'],
    ['an entry without a secret', { secrets: at(1, { id: 'a' }) }, 'secrets[1]', '32'],
    ['an entry with a short secret', { secrets: at(1, { secret: 'short' }) }, 'secrets[1]', '32'],
    ['a list in the list', { secrets: [[SECRET]] }, 'secrets[0]'],
    ['a space', { secrets: [`${WRONG} ${WRONG}`] }, 'secrets[0]'],
    ['a line end', { secrets: at(1, `${WRONG}\n`) }, 'secrets[1]'],
    ['a quotation mark', { secrets: [`"${WRONG}"`] }, 'secrets[0]'],
    ['a letter beyond ASCII', { secrets: [`${WRONG}\u00e9`] }, 'secrets[0]'],
    ['a = in the middle', { secrets: [`${WRONG}=${WRONG}`] }, 'secrets[0]'],
    ['a secret twice', { secrets: [SECRET, WRONG, SECRET] }, 'secrets', 'twice'],
    [
      'a secret twice, once with an expiry',
      { secrets: [SECRET, { secret: SECRET, expiresAt: new Date(NOW) }] },
      'twice',
    ],
    [
      'an expiry in seconds',
      { secrets: [{ secret: SECRET, expiresAt: NOW / 1000 }] },
      'secrets[0].expiresAt',
      `${NOW / 1000}`,
    ],
    [
      'an expiry without a zone',
      { secrets: [{ secret: SECRET, expiresAt: '2026-01-01T00:00:00' }] },
      'secrets[0].expiresAt',
    ],
    [
      'an expiry that is an invalid Date',
      { secrets: at(1, { secret: WRONG, expiresAt: new Date('x') }) },
      'secrets[1].expiresAt',
    ],
    ['an expiry of null', { secrets: [{ secret: SECRET, expiresAt: null }] }, 'secrets[0].expiresAt', 'null'],
    ['a misspelt expiry', { secrets: at(1, { secret: WRONG, expires: new Date(NOW) }) }, 'secrets[1]', 'expiresAt'],
    ['an empty id', { secrets: [{ secret: SECRET, id: '' }] }, 'secrets[0].id'],
    ['an id that is a number', { secrets: [{ secret: SECRET, id: 7 }] }, 'secrets[0].id'],
    ['the secret as its own id', { secrets: [{ secret: SECRET, id: SECRET }] }, 'secrets[0].id'],
    ['a misspelt option', { secrets: [SECRET], scope: ['a'] }, 'scope'],
    ['an empty clientId', { secrets: [SECRET], clientId: '' }, 'clientId', "''"],
    ['a clientId that is a number', { secrets: [SECRET], clientId: 5 }, 'clientId', '5'],
    ['scopes that are not a list', { secrets: [SECRET], scopes: 'admin' }, 'scopes', "'admin'"],
    ['a scope of two words', { secrets: [SECRET], scopes: ['a b'] }, 'scopes', "[ 'a b' ]"],
    ['an empty scope', { secrets: [SECRET], scopes: [''] }, 'scopes'],
    ['scopes that are not strings', { secrets: [SECRET], scopes: [1] }, 'scopes', '1'],
    ['a clock that is not a function', { secrets: [SECRET], now: NOW }, 'now', `${NOW}`],
  ];

  it.each(refused)('refuses %s', (_what, options, ...named) => {
    const error = errorOf(options);
    expect(error).toBeInstanceOf(OptionError);
    for (const part of ['gatewarden: sharedSecret', ...named]) expect(String(error)).toContain(part);
    for (const secret of [SECRET, WRONG, 'short', '1234567890']) expectNothingOf(secret, inspect(error));
  });

  it('accepts 32 characters, and every character of a bearer token', () => {
    expect(sharedSecret({ secrets: ['a'.repeat(32), '0123456789-._~+/ABCDEFGHIJKLMNOPQRSTUVWXYZ===='] })).toBeDefined();
  });

  it('says exactly what is missing and how to make it if the variable is not set', () => {
    const secrets: readonly (string | undefined)[] = [process.env.GATEWARDEN_TEST_UNSET_SECRET];
    expect(() => sharedSecret({ secrets })).toThrow(
      'gatewarden: sharedSecret "secrets[0]" is not set; it must be a string of at least 32 characters, such as the output of `openssl rand -hex 32`',
    );
  });

  it('never shows a secret or a part of it in an error', () => {
    // These characters occur in no message, so any of them in a message is a leak.
    const alphabet = fc.constantFrom(...'6789QZXJKV#!$%&^\u00a3\u20ac\u00fc@');
    const bad = fc.oneof(
      fc.string({ unit: alphabet, minLength: 1, maxLength: 31 }),
      fc.string({ unit: alphabet, minLength: 31, maxLength: 200 }).map((text) => `${text}#`),
    );
    const entry = fc.oneof(
      bad,
      bad.map((secret) => ({ secret })),
      bad.map((secret) => ({ secret, id: 'old', expiresAt: new Date(0) })),
      bad.map((secret) => [secret]),
      bad.map((secret) => ({ secret: [secret] })),
      bad.map((secret) => ({ secret, [secret]: secret })),
      bad.map((id) => ({ secret: id.padEnd(40, 'A').replace(/[^A-Z]/g, 'B'), id: [id] })),
    );
    fc.assert(
      fc.property(entry, fc.nat(4), (value, index) => {
        const message = String(errorOf({ secrets: at(index, value) }));
        expect(message).toContain(`secrets[${index}]`);
        expect(message).not.toMatch(/[6789QZXJKV#!$%&^\u00a3\u20ac\u00fc@]/);
      }),
      { numRuns: 2000 },
    );
  });
});

/** Expects that `text` contains no eight consecutive characters of `secret`. */
function expectNothingOf(secret: string, text: string): void {
  const size = Math.min(8, secret.length);
  for (let i = 0; i + size <= secret.length; i++) expect(text).not.toContain(secret.slice(i, i + size));
}

describe('a secret', () => {
  const requests: readonly (readonly HeaderLine[])[] = [
    bearer(SECRET),
    bearer(EARLIER),
    bearer(SECRET.slice(0, -1)),
    bearer(`${SECRET}A`),
    bearer(SECRET + 'A'.repeat(9000)),
    authorization(`Bearer ${SECRET} x`),
    authorization(`Bearer${SECRET}`),
    authorization(SECRET),
    authorization(`Bearer ${SECRET}`, `Bearer ${SECRET}`),
  ];

  it('appears in no reply, no response header, no principal and no reported fault', async () => {
    const scheme = sharedSecret({ secrets: [SECRET, { secret: EARLIER, expiresAt: new Date(NOW) }] });
    const failing: Authenticator = {
      ...scheme,
      verify() {
        throw new Error('out of order');
      },
    };
    const guards = [
      authenticate(scheme),
      authenticate(failing),
      sequence(problemFormat({ default: (problem) => ({ body: problem }) }), authenticate(scheme)),
    ];
    let refusals = 0;
    for (const guard of guards) {
      for (const headers of requests) {
        const { replyHeaders, body, exchange, headers: response, faults } = await ask(guard, { headers });
        const shown = inspect(
          { replyHeaders, body, response: response.all(), principal: exchange.principal, faults },
          { depth: 10, maxStringLength: null },
        );
        if (body !== '') refusals++;
        for (const secret of [SECRET, EARLIER]) expectNothingOf(secret, shown);
      }
    }
    expect(refusals).toBe(25);
  });

  it('does not appear when the authenticator is printed', () => {
    const shown = inspect(sharedSecret({ secrets: [SECRET, EARLIER] }), { depth: 10, showHidden: true });
    for (const secret of [SECRET, EARLIER]) expectNothingOf(secret, shown);
  });
});
