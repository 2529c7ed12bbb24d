import type { RouteOptions } from 'fastify';
import { OptionError } from '../core/option.js';
import { uncalledGuard } from './guard-arguments.js';

/** Hooks that run before the handler and can answer the request. */
const GUARD_HOOKS = ['onRequest', 'preValidation', 'preHandler'] as const;

/** Hooks that run after the handler, or whose `next` is not their third argument. */
const OTHER_HOOKS = [
  'preParsing',
  'preSerialization',
  'onSend',
  'onResponse',
  'onError',
  'onTimeout',
  'onRequestAbort',
] as const;

export const CORRECT_HOOK = "app.addHook('onRequest', guard(...))";
export const GUARD_AS_PLUGIN =
  'gatewarden: guard(...) is a hook, not a plugin; ' +
  `use ${CORRECT_HOOK} or app.register(gatewarden, { guards: [...] })`;

/** Every hook that `guard` has returned. */
const guardHooks = new WeakSet<object>();

/** Registers a hook, so that `checkHooks` finds it. */
export function rememberHook(hook: object): void {
  guardHooks.add(hook);
}

/** The message about `guard(...)` on a hook other than these three. */
export function wrongHook(place = 'a hook that cannot protect a route'): string {
  return `gatewarden: guard(...) is on ${place}; put it on onRequest, preValidation or preHandler`;
}

/**
 * Checks the hooks of a route when the application adds it.
 * @throws OptionError for `guard(...)` on a hook that cannot protect the route, and for `guard` without a call
 */
export function checkHooks(route: RouteOptions, guard: object): void {
  for (const name of [...GUARD_HOOKS, ...OTHER_HOOKS]) {
    const hooks: unknown[] = [route[name]].flat();
    if (hooks.includes(guard)) throw uncalledGuard(`{ onRequest: guard(...) } on ${route.url}`);
  }
  for (const name of OTHER_HOOKS) {
    if ([route[name]].flat().some((hook) => hook !== undefined && guardHooks.has(hook))) {
      throw new OptionError(wrongHook(`${name} of ${route.url}`));
    }
  }
}
