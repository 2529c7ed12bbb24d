import { inspect } from 'node:util';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { authenticate } from '../../src/auth/authenticate.js';
import { type IngestTokenOptions, ingestToken } from '../../src/auth/ingest-token.js';
import { OptionError } from '../../src/core/option.js';
import { ask, type HeaderLine } from '../exchange-fixture.js';

const TOKEN = 'my-secret-ingestion-token';
const OLD = 'the-c4n4ry-token-before-it';
const NOW = 1_760_000_000_000;
const header = (token: string): HeaderLine => ['X-Ingest-Token', token];
const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);

beforeEach(() => warned.mockClear());

describe('ingestToken', () => {
  const guard = authenticate(ingestToken({ tokens: [TOKEN, { secret: OLD, id: 'old' }] }));
  it.each([
    ['accepts the token', [header(TOKEN)], undefined],
    ['accepts an earlier token', [header(OLD)], undefined],
    ['refuses another token', [header('another-secret-ingest-token')], 401],
    ['refuses a token without its last character', [header(TOKEN.slice(0, -1))], 401],
    ['refuses a token with one more character', [header(`${TOKEN}x`)], 401],
    ['refuses the token in another case', [header(TOKEN.toUpperCase())], 401],
    ['refuses a request without a token', [], 401],
    ['treats a blank token as missing', [header('  ')], 401],
    ['refuses two header lines', [header(TOKEN), header(TOKEN)], 400],
    ['refuses a token with a space', [header('my secret ingestion token')], 400],
    ['refuses a token with a character outside ASCII', [header('my-s\u00e9cret-ingestion-token')], 400],
    ['refuses a token over 8 KB', [header('x'.repeat(8193))], 431],
    ['does not read Authorization', [['Authorization', `Bearer ${TOKEN}`] as HeaderLine], 401],
  ])('%s', async (_promise, headers, status) => {
    expect((await ask(guard, { headers })).status).toBe(status);
  });

  it('names the token that was used in the principal', async () => {
    const { exchange } = await ask(guard, { headers: [header(OLD)] });
    expect(exchange.principal).toEqual({ id: 'ingest', scheme: 'ingest-token', scopes: [], credentialId: 'old' });
  });

  it.each([
    ['a Date', new Date(NOW)],
    ['an ISO 8601 string', new Date(NOW).toISOString()],
    ['epoch milliseconds', NOW],
  ])('refuses a token from its expiry on, given as %s', async (_what, expiresAt) => {
    let now = NOW - 1;
    const expiring = ingestToken({ tokens: [TOKEN, { secret: OLD, expiresAt }], now: () => now });
    const answer = () => ask(authenticate(expiring), { headers: [header(OLD)] });
    expect((await answer()).passed).toBe(true);
    now = NOW;
    expect((await answer()).status).toBe(401);
  });

  it('reads the configured header, and names it in its challenge', async () => {
    const named = authenticate(ingestToken({ tokens: [TOKEN], header: 'X-Feed-Key' }));
    expect((await ask(named, { headers: [['x-feed-key', TOKEN]] })).passed).toBe(true);
    expect((await ask(named)).replyHeaders).toEqual({ 'WWW-Authenticate': 'X-Feed-Key realm="api"' });
  });
});

describe('an ingest token that is not set', () => {
  it.each([[[]], [['']], [['', '']]])('is an OptionError: %j', (tokens) => {
    expect(() => ingestToken({ tokens })).toThrow(OptionError);
    expect(() => ingestToken({ tokens, whenUnset: 'refuse' })).toThrow(/ingestToken "tokens/);
  });

  it.each([[[]], [['']], [['', '']]])("admits every request with whenUnset: 'open', and warns: %j", async (tokens) => {
    const guard = authenticate(ingestToken({ tokens, whenUnset: 'open' }));
    expect(warned).toHaveBeenCalledExactlyOnceWith(expect.stringContaining('everybody'), {
      code: 'GATEWARDEN_INGEST_OPEN',
    });
    for (const headers of [[], [header(TOKEN)], [header('')], [header(TOKEN), header(TOKEN)]]) {
      const { exchange, passed } = await ask(guard, { headers });
      expect({ passed, bypassed: exchange.principal?.bypassed }).toEqual({ passed: true, bypassed: true });
    }
  });

  it('does not open a service that has a token', async () => {
    const guard = authenticate(ingestToken({ tokens: [TOKEN], whenUnset: 'open' }));
    expect((await ask(guard)).status).toBe(401);
    expect(warned).not.toHaveBeenCalled();
  });
});

describe('construction', () => {
  it.each([
    ['an empty token next to another', { tokens: [TOKEN, ''] }, 'tokens[1]'],
    [
      'an unset variable',
      { tokens: [undefined] },
      'tokens[0]" is not set; it must be a string of at least 16 characters',
    ],
    ['an unset variable, open', { tokens: [undefined], whenUnset: 'open' }, 'tokens[0]" is not set'],
    [
      'an unset variable next to a token, open',
      { tokens: [TOKEN, undefined], whenUnset: 'open' },
      'tokens[1]" is not set',
    ],
    ['no token at all', { tokens: [] }, 'openssl rand -hex 32'],
    ['an empty token next to another, open', { tokens: [TOKEN, ''], whenUnset: 'open' }, 'tokens[1]'],
    ['a token under 16 characters', { tokens: ['x'.repeat(15)] }, 'tokens[0]'],
    ['a token with a space', { tokens: ['my secret ingestion token'] }, 'tokens[0]'],
    ['a token twice', { tokens: [TOKEN, TOKEN] }, 'twice'],
    ['tokens that are not a list', { tokens: TOKEN }, 'tokens'],
    ['missing tokens', {}, 'tokens'],
    ['missing tokens, open', { whenUnset: 'open' }, 'tokens'],
    ['an empty client, open', { tokens: [], whenUnset: 'open', clientId: '' }, 'clientId'],
    ['a scope of two words', { tokens: [TOKEN], scopes: ['a b'] }, 'scopes'],
    ['a scope of two words, open', { tokens: [], whenUnset: 'open', scopes: ['a b'] }, 'scopes'],
    ['an expiry in seconds', { tokens: [{ secret: TOKEN, expiresAt: 1_760_000_000 }] }, 'tokens[0].expiresAt'],
    ['an admin scope, open', { tokens: [], whenUnset: 'open', scopes: ['administrator'] }, 'scopes'],
    ['a token as its own client', { tokens: [TOKEN], clientId: TOKEN }, 'clientId'],
    ['a whenUnset of true', { tokens: [], whenUnset: true }, 'whenUnset'],
    ['a header that is not a name', { tokens: [TOKEN], header: 'X Token' }, 'header'],
    ['a misspelt option', { tokens: [TOKEN], whenunset: 'open' }, 'whenunset'],
  ])('refuses %s and shows no token', (_what, options, named) => {
    let thrown: unknown;
    try {
      ingestToken(options as unknown as IngestTokenOptions);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(OptionError);
    expect(inspect(thrown)).toContain(named);
    expect(inspect(thrown)).not.toContain(TOKEN.slice(0, 9));
  });
});
