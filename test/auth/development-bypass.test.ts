import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { authenticate } from '../../src/auth/authenticate.js';
import { type DevelopmentBypassOptions, developmentBypass } from '../../src/auth/development-bypass.js';
import { requireScope } from '../../src/auth/require-scope.js';
import { sharedSecret } from '../../src/auth/shared-secret.js';
import { OptionError } from '../../src/core/option.js';
import { sequence } from '../../src/core/sequence.js';
import { ask, type HeaderLine } from '../exchange-fixture.js';

const SECRET = 'development-bypass-c4n4ry-secret-0123456789';
const bearer = (token: string): HeaderLine => ['Authorization', `Bearer ${token}`];
const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);

beforeEach(() => warned.mockClear());
afterEach(() => vi.unstubAllEnvs());

const enabled = (more: Partial<DevelopmentBypassOptions> = {}) =>
  developmentBypass({ enabled: true, env: {}, ...more });

describe('developmentBypass', () => {
  it('admits a request without credentials, marked as bypassed', async () => {
    const { passed, exchange } = await ask(authenticate(enabled({ scopes: ['jobs'] })));
    expect(passed).toBe(true);
    expect(exchange.principal).toEqual({
      id: 'development',
      scheme: 'development-bypass',
      scopes: ['jobs'],
      credentialId: 'none',
      bypassed: true,
    });
  });

  it('admits a request with any credentials if it is the only authenticator', async () => {
    expect((await ask(authenticate(enabled()), { headers: [bearer('whatever')] })).passed).toBe(true);
    expect((await ask(authenticate(enabled()), { headers: [['X-API-Key', 'whatever']] })).passed).toBe(true);
  });

  it.each([
    ['refuses invalid credentials next to another scheme', [bearer('x'.repeat(40))], 401],
    ['refuses malformed credentials next to another scheme', [['Authorization', 'Bearer']] as HeaderLine[], 400],
  ])('%s', async (_promise, headers, status) => {
    const guard = authenticate([sharedSecret({ secrets: [SECRET] }), enabled()]);
    expect((await ask(guard, { headers })).status).toBe(status);
  });

  it('leaves valid credentials to the other scheme', async () => {
    const guard = authenticate([sharedSecret({ secrets: [SECRET] }), enabled()]);
    const { exchange } = await ask(guard, { headers: [bearer(SECRET)] });
    expect(exchange.principal).toMatchObject({ scheme: 'shared-secret' });
    expect(exchange.principal?.bypassed).toBeUndefined();
  });

  it('does nothing unless enabled', async () => {
    expect((await ask(authenticate(developmentBypass({ enabled: false, env: {} })))).status).toBe(401);
    expect(warned).not.toHaveBeenCalled();
  });

  it('never grants an admin scope', async () => {
    for (const scope of ['admin', 'Admin', 'admin:logs', 'admin.read', 'administrator', 'admin_write', ' admin']) {
      expect(() => enabled({ scopes: ['jobs', scope] })).toThrow(/developmentBypass "scopes"/);
    }
    const guard = sequence(authenticate(enabled({ scopes: ['jobs'] })), requireScope('admin'));
    expect((await ask(guard)).status).toBe(403);
  });

  it.each([
    [{ NODE_ENV: 'production' }, 'NODE_ENV'],
    [{ ENVIRONMENT: 'production' }, 'ENVIRONMENT'],
    [{ NODE_ENV: 'development', ENVIRONMENT: 'production' }, 'ENVIRONMENT'],
    [{ ENVIRONMENT: ' Production\n' }, 'ENVIRONMENT'],
    [{ ENVIRONMENT: 'production-eu' }, 'ENVIRONMENT'],
    [{ NODE_ENV: 'prod' }, 'NODE_ENV'],
  ])('refuses to be enabled with %j', (env, name) => {
    expect(() => enabled({ env })).toThrow(OptionError);
    expect(() => enabled({ env })).toThrow(name);
    expect(() => developmentBypass({ enabled: false, env })).not.toThrow();
  });

  it('reads the environment of the process by default', () => {
    vi.stubEnv('ENVIRONMENT', 'production');
    expect(() => developmentBypass({ enabled: true })).toThrow(/ENVIRONMENT/);
  });

  it('warns at start', () => {
    enabled();
    expect(warned).toHaveBeenCalledExactlyOnceWith(expect.stringContaining('without credentials'), {
      code: 'GATEWARDEN_DEVELOPMENT_BYPASS',
    });
  });

  it.each([
    ['"enabled"', { enabled: 'false' }],
    ['"enabled"', { enabled: 1 }],
    ['"enabled"', {}],
    ['"clientId"', { enabled: true, clientId: '' }],
    ['"scopes"', { enabled: true, scopes: 'jobs' }],
    ['"scopes"', { enabled: true, scopes: ['a b'] }],
    ['"scopes"', { enabled: false, scopes: ['a b'] }],
    ['"clientId"', { enabled: true, clientId: null }],
    ['"enable"', { enable: true }],
  ])('refuses a bad %s', (name, options) => {
    expect(() => developmentBypass({ env: {}, ...options } as unknown as DevelopmentBypassOptions)).toThrow(name);
  });
});
