import { describe, expect, it } from 'vitest';
import { type RequireScopeOptions, requireScope } from '../../src/auth/require-scope.js';
import { OptionError } from '../../src/core/option.js';
import type { Principal } from '../../src/core/principal.js';
import { ask } from '../exchange-fixture.js';

const principal = (...scopes: string[]): Principal => ({ id: 'a', scheme: 'test', scopes, credentialId: 'c' });

describe('requireScope', () => {
  it.each([
    ['passes with the scope', 'admin', ['admin'], true],
    ['passes with the scope among others', 'admin', ['read', 'admin'], true],
    ['passes with all of several', ['read', 'admin'], ['admin', 'read'], true],
    ['refuses without any', 'admin', [], false],
    ['refuses with another', 'admin', ['read'], false],
    ['refuses with one of two', ['read', 'admin'], ['read'], false],
    ['does not take a longer scope for it', 'admin', ['administrator'], false],
    ['does not take a shorter scope for it', 'admin', ['adm'], false],
    ['minds the case', 'admin', ['Admin'], false],
    ['does not find it within another', 'admin', ['read admin'], false],
  ])('%s', async (_promise, needed, granted, passes) => {
    const { passed, status } = await ask(requireScope(needed), { principal: principal(...granted) });
    expect({ passed, status }).toEqual({ passed: passes, status: passes ? undefined : 403 });
  });

  it('says what is needed, as RFC 6750 has it, and nothing of what was granted', async () => {
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

  it('is a fault, not a pass, where nobody was authenticated', async () => {
    const { status, faults } = await ask(requireScope('admin'));
    expect(status).toBe(500);
    expect(String(faults[0])).toMatch(/no principal/);
  });

  it.each([[''], [[]], ['two words'], ['quo"te'], ['back\\slash'], [['admin', '']], [5], [undefined], [['admin', 5]]])(
    'cannot be made for %j',
    (scopes) => {
      expect(() => requireScope(scopes as string)).toThrow(OptionError);
    },
  );

  it('refuses a realm that is no printable text, and options that it does not know', () => {
    expect(() => requireScope('admin', { realm: 'a\r\n' })).toThrow(/requireScope "realm"/);
    expect(() => requireScope('admin', { scopes: [] } as RequireScopeOptions)).toThrow(/no option "scopes"/);
  });
});
