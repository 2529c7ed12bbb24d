import { createClient } from 'redis';
import { expect, it, onTestFinished } from 'vitest';
import { redisIdempotencyStore } from '../../../../src/jobs/redis/idempotency-store.js';
import { redisLedger } from '../../../../src/observe/usage/redis/redis-ledger.js';
import { describeRedis } from '../../../redis/describe.js';
import { useRedis } from '../../../redis/suite.js';

describeRedis('a client of redis 5 that maps replies to other types', () => {
  const server = useRedis();

  it.each([2, 3] as const)('is read as any other, over RESP%d', async (RESP) => {
    const typeMapping = { 36: Buffer, 43: Buffer, 58: String };
    const client = createClient({ RESP, url: server.url, commandOptions: { typeMapping } });
    client.on('error', () => {});
    await client.connect();
    onTestFinished(() => client.destroy());
    const ledger = redisLedger({ client, prefix: `mapped-${RESP}:` });
    ledger.add([{ client: 'ada', requests: 3 }]);
    expect((await ledger.read()).rows).toMatchObject([{ client: 'ada', requests: 3 }]);
    const keys = redisIdempotencyStore({ client, prefix: `mapped-${RESP}-keys:` });
    expect(await keys.begin('once', 'print', 'h1', 30_000)).toEqual({ kind: 'new' });
    expect(await keys.begin('once', 'print', 'h2', 30_000)).toEqual({ kind: 'running', fingerprint: 'print' });
    expect(await keys.renew('once', 'h1', 30_000)).toBe(true);
    // The service's own commands keep their mapping.
    expect(await client.echo('mine')).toEqual(Buffer.from('mine'));
  });
});
