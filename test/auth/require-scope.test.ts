import { describe, expect, it } from 'vitest';
import { type RequireScopeOptions, requireScope } from '../../src/auth/require-scope.js';
import { OptionError } from '../../src/core/option.js';
import type { Principal } from '../../src/core/principal.js';
import { ask } from '../exchange-fixture.js';

const principal = (...scopes: string[]): Principal => ({ id: 'a', scheme: 'test', scopes, credentialId: 'c' });

describe('requireScope', () => {
  it.each([
    ['admits a principal with the scope', 'admin', ['admin'], true],
    ['admits a principal with the scope among others', 'admin', ['read', 'admin'], true],
    ['admits a principal with all required scopes', ['read', 'admin'], ['admin', 'read'], true],
    ['refuses a principal without scopes', 'admin', [], false],
    ['refuses a principal with another scope', 'admin', ['read'], false],
    ['refuses a principal with one of two required scopes', ['read', 'admin'], ['read'], false],
    ['refuses a longer scope that begins with the required one', 'admin', ['administrator'], false],
    ['refuses a shorter scope', 'admin', ['adm'], false],
    ['refuses the scope in another case', 'admin', ['Admin'], false],
    ['refuses the scope as a word within another', 'admin', ['read admin'], false],
  ])('%s', async (_promise, needed, granted, passes) => {
    const { passed, status } = await ask(requireScope(needed), { principal: principal(...granted) });
    expect({ passed, status }).toEqual({ passed: passes, status: passes ? undefined : 403 });
  });

  it('names the required scopes in the challenge of RFC 6750, and not the granted ones', async () => {
    const answer = await ask(requireScope(['read', 'admin'], { realm: 'jobs' }), { principal: principal('read', 'x') });
    expect(answer.replyHeaders).toEqual({
      'WWW-Authenticate': 'Bearer realm="jobs", error="insufficient_scope", scope="read admin"',
    });
    expect(JSON.parse(answer.body)).toEqual({
      title: 'Forbidden',
      status: 403,
      detail: 'The credentials do not grant access to this resource.',
      code: 'scope-insufficient',
    });
  });

  it('is a fault, not a pass, without a principal', async () => {
    const { status, faults } = await ask(requireScope('admin'));
    expect(status).toBe(500);
    expect(String(faults[0])).toMatch(/no principal/);
  });

  it.each([[''], [[]], ['two words'], ['quo"te'], ['back\\slash'], [['admin', '']], [5], [undefined], [['admin', 5]]])(
    'refuses the scopes %j at construction',
    (scopes) => {
      expect(() => requireScope(scopes as string)).toThrow(OptionError);
    },
  );

  it('refuses a realm that is not printable, and unknown options', () => {
    expect(() => requireScope('admin', { realm: 'a\r\n' })).toThrow(/requireScope "realm"/);
    expect(() => requireScope('admin', { scopes: [] } as RequireScopeOptions)).toThrow(/no option "scopes"/);
  });
});
