import { describe, expect, it } from 'vitest';
import { apiKeys, authenticate, memoryLedger, requireScope, sequence, usageReport } from '../../src/index.js';
import { metricsEndpoint } from '../../src/observe/metrics/index.js';

const entrance = authenticate(apiKeys({ keys: ['c4n4ry-of-an-operator-0123456789-01'] }));
const admin = requireScope('admin');

describe.each([
  ['usageReport', () => usageReport({ ledger: memoryLedger() })],
  ['metricsEndpoint', () => metricsEndpoint({ register: { contentType: 'text/plain', metrics: async () => '' } })],
])('%s', (name, make) => {
  it('stops the start if what protects it comes after it', () => {
    const why = 'it answers, so that what follows it protects nothing';
    expect(() => sequence(make(), entrance)).toThrow(`gatewarden: put authenticate(...) before ${name}(...): ${why}`);
    expect(() => sequence(entrance, make(), admin)).toThrow(
      `gatewarden: put requireScope(...) before ${name}(...): ${why}`,
    );
    sequence(entrance, admin, make());
    sequence(make());
  });
});
