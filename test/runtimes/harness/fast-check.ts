export * from 'fast-check';

import * as fc from 'fast-check';

/** Enough to find a runtime that differs. `npm test` and `npm run test:long` search further, on Node. */
const MAX_RUNS = 20;

const bounded = <T>(options: fc.Parameters<T> = {}) => ({
  ...options,
  numRuns: Math.min(options.numRuns ?? 100, MAX_RUNS),
});

/** fast-check with fewer runs of each property. */
const fewer: typeof fc.default = {
  ...fc.default,
  assert: ((property: fc.IRawProperty<unknown>, options?: fc.Parameters<unknown>) =>
    fc.assert(property, bounded(options))) as typeof fc.assert,
};
// biome-ignore lint/style/noDefaultExport: tests import the default export of fast-check.
export default fewer;
