import { readFileSync } from 'node:fs';
import { expect, it, onTestFinished } from 'vitest';
import { gpuTime } from '../../../src/limit/policy.js';
import { redisStore } from '../../../src/limit/redis/redis-store.js';
import { redisLedger } from '../../../src/observe/usage/redis/redis-ledger.js';
import { redisOperatorStore } from '../../../src/operator/redis/operator-store.js';
import { describeRedis } from '../../redis/describe.js';
import { startRedis } from '../../redis/server.js';

const PAGE = readFileSync(new URL('../../../docs/limits-in-redis.md', import.meta.url), 'utf8');
const shown = (rule: RegExp) => rule.exec(PAGE)?.[1]?.split(' ') ?? [];
const BASIC = shown(/^ACL SETUSER gatewarden (.+)$/m);
const OF_LEDGER = shown(/^ACL SETUSER gatewarden (~gw-usage.+)$/m);
const OF_OPERATORS = shown(/^ACL SETUSER gatewarden (\+hget \+hgetall.+)$/m);

describeRedis('the permissions that docs/limits-in-redis.md shows', () => {
  it('suffice for a ledger that books together with the store, and for the store of operators', async () => {
    const server = await startRedis();
    onTestFinished(() => server.stop());
    const permissions = [...BASIC, ...OF_LEDGER, ...OF_OPERATORS];
    expect(await server.cli('ACL', 'SETUSER', 'gatewarden', 'reset', ...permissions)).toBe('OK');
    const client = server.client({ username: 'gatewarden', password: 'a-long-password' });
    const store = redisStore({ client, timeout: '5s' });
    onTestFinished(() => store.close());
    const ledger = redisLedger({ client });
    const decision = await store.admit([gpuTime({ limit: '1h', window: '1h', estimate: '1s' })], ['key'], [1000]);
    if (decision.kind !== 'admitted') throw new Error('refused');
    const bookings = [{ job: 'a', client: 'ada', gpuTime: 700, isFinal: true, end: 'finished', place: '' }] as const;
    await store.settle(decision.receipt, [700], { ledger, bookings, refuse: () => expect.unreachable() });
    await ledger.book([{ ...bookings[0], job: 'b' }]);
    ledger.add([{ client: 'ada', requests: 1 }]);
    expect((await ledger.read()).rows).toMatchObject([{ client: 'ada', gpuTime: 1400, jobsFinished: 2, requests: 1 }]);
    const operators = redisOperatorStore({ client });
    const measure = { kind: 'suspended', client: 'ada', by: 'eve', since: Date.now(), until: undefined } as const;
    expect(await operators.add(measure)).toBe('added');
    expect(await operators.list()).toMatchObject([measure]);
    expect(await operators.remove('suspended', 'ada')).toBe(true);
  });
});
