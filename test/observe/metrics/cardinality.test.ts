import * as client from 'prom-client';
import { expect, it } from 'vitest';
import { type Guard, problem, refuse, sequence } from '../../../src/index.js';
import { metrics } from '../../../src/observe/metrics/index.js';
import { testExchange } from '../../exchange-fixture.js';

it('the reasons of refused uploads are a bounded number of series', async () => {
  const register = new client.Registry();
  let reason = 0;
  const refuseUpload: Guard = () =>
    refuse({ ...problem('upload-malformed', { reason: 'truncated' }), reason: `reason-${reason++}` } as ReturnType<
      typeof problem
    >);
  const guards = sequence(metrics({ client, register }), refuseUpload);
  for (let i = 0; i < 300; i++) {
    const { exchange } = testExchange();
    await guards(exchange);
    exchange.end({ kind: 'refused', status: 400, code: 'upload-malformed' });
  }
  const lines = (await register.metrics()).split('\n').filter((line) => line.startsWith('gatewarden_uploads_refused'));
  expect(lines).toHaveLength(101);
  expect(lines.at(-1)).toContain('reason="other"} 200');
});
