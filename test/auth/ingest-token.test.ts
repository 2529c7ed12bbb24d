import { inspect } from 'node:util';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { authenticate } from '../../src/auth/authenticate.js';
import { type IngestTokenOptions, ingestToken } from '../../src/auth/ingest-token.js';
import { OptionError } from '../../src/core/option.js';
import { ask, type HeaderLine } from '../exchange-fixture.js';

const TOKEN = 'my-secret-ingestion-token';
const OLD = 'the-c4n4ry-token-before-it';
const header = (token: string): HeaderLine => ['X-Ingest-Token', token];
const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);

beforeEach(() => warned.mockClear());

describe('ingestToken', () => {
  const guard = authenticate(ingestToken({ tokens: [TOKEN, { secret: OLD, id: 'old' }] }));
  it.each([
    ['lets in with the token', [header(TOKEN)], undefined],
    ['lets in with an earlier token', [header(OLD)], undefined],
    ['refuses another', [header('another-secret-ingest-token')], 401],
    ['refuses one that is cut', [header(TOKEN.slice(0, -1))], 401],
    ['refuses one that goes on', [header(`${TOKEN}x`)], 401],
    ['minds the case', [header(TOKEN.toUpperCase())], 401],
    ['refuses none', [], 401],
    ['takes a blank one for none', [header('  ')], 401],
    ['refuses two lines', [header(TOKEN), header(TOKEN)], 400],
    ['refuses one with a space', [header('my secret ingestion token')], 400],
    ['refuses one beyond ASCII', [header('my-s\u00e9cret-ingestion-token')], 400],
    ['refuses one over 8 KB', [header('x'.repeat(8193))], 431],
    ['does not look into Authorization', [['Authorization', `Bearer ${TOKEN}`] as HeaderLine], 401],
  ])('%s', async (_promise, headers, status) => {
    expect((await ask(guard, { headers })).status).toBe(status);
  });

  it('tells which token was used', async () => {
    const { exchange } = await ask(guard, { headers: [header(OLD)] });
    expect(exchange.principal).toEqual({ id: 'ingest', scheme: 'ingest-token', scopes: [], credentialId: 'old' });
  });

  it('refuses an ended token from its end on', async () => {
    let now = 999;
    const ending = ingestToken({ tokens: [TOKEN, { secret: OLD, expiresAt: new Date(1000) }], now: () => now });
    const answer = () => ask(authenticate(ending), { headers: [header(OLD)] });
    expect((await answer()).passed).toBe(true);
    now = 1000;
    expect((await answer()).status).toBe(401);
  });

  it('reads the header that it is told, and names it in its challenge', async () => {
    const named = authenticate(ingestToken({ tokens: [TOKEN], header: 'X-Feed-Key' }));
    expect((await ask(named, { headers: [['x-feed-key', TOKEN]] })).passed).toBe(true);
    expect((await ask(named)).replyHeaders).toEqual({ 'WWW-Authenticate': 'X-Feed-Key realm="api"' });
  });
});

describe('an ingest token that is not set', () => {
  it.each([[[]], [['']], [['', '']]])('%j stops the start', (tokens) => {
    expect(() => ingestToken({ tokens })).toThrow(OptionError);
    expect(() => ingestToken({ tokens, whenUnset: 'refuse' })).toThrow(/ingestToken "tokens/);
  });

  it.each([[[]], [['']], [['', '']]])('%j lets everybody in where that is asked for, and warns', async (tokens) => {
    const guard = authenticate(ingestToken({ tokens, whenUnset: 'open' }));
    expect(warned).toHaveBeenCalledExactlyOnceWith(expect.stringContaining('everybody'), {
      code: 'GATEWARDEN_INGEST_OPEN',
    });
    for (const headers of [[], [header(TOKEN)], [header('')], [header(TOKEN), header(TOKEN)]]) {
      const { exchange, passed } = await ask(guard, { headers });
      expect({ passed, bypassed: exchange.principal?.bypassed }).toEqual({ passed: true, bypassed: true });
    }
  });

  it('is not open where a token is set', async () => {
    const guard = authenticate(ingestToken({ tokens: [TOKEN], whenUnset: 'open' }));
    expect((await ask(guard)).status).toBe(401);
    expect(warned).not.toHaveBeenCalled();
  });
});

describe('construction', () => {
  it.each([
    ['an empty token beside another', { tokens: [TOKEN, ''] }, 'tokens[1]'],
    ['an empty token beside another, open', { tokens: [TOKEN, ''], whenUnset: 'open' }, 'tokens[1]'],
    ['a token under 16 characters', { tokens: ['x'.repeat(15)] }, 'tokens[0]'],
    ['a token with a space', { tokens: ['my secret ingestion token'] }, 'tokens[0]'],
    ['a token twice', { tokens: [TOKEN, TOKEN] }, 'twice'],
    ['no list', { tokens: TOKEN }, 'tokens'],
    ['no tokens', {}, 'tokens'],
    ['no tokens, open', { whenUnset: 'open' }, 'tokens'],
    ['no client, open', { tokens: [], whenUnset: 'open', clientId: '' }, 'clientId'],
    ['an admin scope, open', { tokens: [], whenUnset: 'open', scopes: ['administrator'] }, 'scopes'],
    ['a token as its own client', { tokens: [TOKEN], clientId: TOKEN }, 'clientId'],
    ['whenUnset of another kind', { tokens: [], whenUnset: true }, 'whenUnset'],
    ['a header that is no name', { tokens: [TOKEN], header: 'X Token' }, 'header'],
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
