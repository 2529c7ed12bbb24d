import type { Exchange, Guard } from 'gatewarden';
import { expect, expectTypeOf, it } from 'vitest';
import { ask, testExchange } from '../exchange-fixture.js';

declare module 'gatewarden' {
  interface ExchangeLocals {
    /** Declared by this test, as a service declares its own. */
    tenantOfTest?: { readonly name: string };
  }
}

it("keeps a service's own values with the exchange, typed", async () => {
  const findTenant: Guard = ({ locals }) => {
    locals.tenantOfTest = { name: 'acme' };
    return undefined;
  };
  const { exchange } = await ask(findTenant);
  expectTypeOf(exchange.locals.tenantOfTest).toEqualTypeOf<{ readonly name: string } | undefined>();
  expectTypeOf<Exchange['locals']>().not.toHaveProperty('other');
  expect(exchange.locals).toBe(exchange.locals);
  expect(exchange.locals.tenantOfTest).toEqual({ name: 'acme' });
});

it('is apart for each exchange, and has no inherited members', () => {
  const [first, second] = [testExchange().exchange, testExchange().exchange];
  first.locals.tenantOfTest = { name: 'acme' };
  expect(Object.keys(second.locals)).toEqual([]);
  expect('constructor' in second.locals).toBe(false);
  expect(Object.getPrototypeOf(second.locals)).toBeNull();
});
