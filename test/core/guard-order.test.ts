import { describe, expect, it } from 'vitest';
import type { Guard } from '../../src/core/guard.js';
import { type GuardOrder, inOrder } from '../../src/core/guard-order.js';
import { OptionError } from '../../src/core/option.js';
import { sequence } from '../../src/core/sequence.js';

const made = (order: GuardOrder): Guard => inOrder(() => undefined, order);

const authenticate = made({ name: 'authenticate' });
const requireScope = made({ name: 'requireScope', after: { authenticate: 'scopes belong to a principal' } });
const cors = made({ name: 'cors', before: { authenticate: 'preflights carry no credentials' } });
const limit = made({ name: 'limit', once: 'each request would be charged twice' });
const plain: Guard = () => undefined;

describe('the order of guards', () => {
  it.each<[string, readonly Guard[]]>([
    ['is right', [cors, authenticate, requireScope, limit]],
    ['has other guards in between', [plain, authenticate, plain, requireScope]],
    ['is right for one of two', [authenticate, requireScope, authenticate]],
    ['cannot be known, as the other guard is not here', [requireScope]],
    ['does not matter', [limit, plain, authenticate]],
    ['has one more guard of the same kind', [limit, made({ name: 'limit', once: 'twice' })]],
    ['is right across sequences', [sequence(cors), sequence(plain, authenticate), sequence(requireScope)]],
  ])('is accepted if it %s', (_what, guards) => {
    expect(() => sequence(...guards)).not.toThrow();
  });

  const SCOPES = 'gatewarden: put authenticate(...) before requireScope(...): scopes belong to a principal';
  const PREFLIGHTS = 'gatewarden: put cors(...) before authenticate(...): preflights carry no credentials';
  const TWICE = 'gatewarden: one limit(...) appears twice: each request would be charged twice; put it there once';

  it.each<[string, readonly Guard[], string]>([
    ['a guard comes before what it needs', [requireScope, authenticate], SCOPES],
    ['others come in between', [plain, requireScope, plain, plain, authenticate], SCOPES],
    ['a guard comes after what it must precede', [authenticate, plain, cors], PREFLIGHTS],
    ['a guard that must run once comes twice', [limit, plain, limit], TWICE],
    ['the guards are in sequences', [sequence(requireScope), sequence(sequence(authenticate))], SCOPES],
    ['one sequence comes twice', [sequence(plain, limit), sequence(limit)], TWICE],
  ])('is refused if %s', (_what, guards, message) => {
    expect(() => sequence(...guards)).toThrow(new OptionError(message));
  });
});
