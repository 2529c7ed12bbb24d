import type { Guard } from './guard.js';

/** Names a guard as its factory, for metrics and messages. A bundler may have renamed the function itself. */
export function named<G extends Guard>(name: string, guard: G): G {
  return Object.defineProperty(guard, 'name', { value: name });
}
