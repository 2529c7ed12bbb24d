import { afterEach, describe, expect, it } from 'vitest';
import { authenticate } from '../../../src/auth/authenticate.js';
import { sharedSecret } from '../../../src/auth/shared-secret.js';
import { clientIp } from '../../../src/client-ip/client-ip.js';
import { sequence } from '../../../src/core/sequence.js';
import { failedAuthLimit } from '../../../src/limit/failed-auth-limit.js';
import { type RedisStore, redisStore } from '../../../src/limit/redis/redis-store.js';
import type { RedisStoreOptions } from '../../../src/limit/redis/redis-store-options.js';
import { ask } from '../../exchange-fixture.js';
import { describeRedis } from '../../redis/describe.js';
import { useRedis } from '../../redis/suite.js';

/** For tests in which Redis is not away: the machine may be busy. */
const CALM = { timeout: '10s' } as const;
const SECRET = 'c4n4ry-failed-auth-over-redis-0123456789';

describeRedis('failedAuthLimit over Redis', () => {
  const server = useRedis();
  const stores: RedisStore[] = [];
  afterEach(async () => {
    for (const store of stores.splice(0)) store.close();
    server.resume();
    await server.cli('FLUSHALL');
  });

  /** One process of several. */
  function instance(options: Partial<RedisStoreOptions> = {}) {
    const store = redisStore({ client: server.client({ retryStrategy: () => 100 }), timeout: '100ms', ...options });
    stores.push(store);
    const limit = failedAuthLimit({ store, limit: 3, window: '1m' });
    const guard = sequence(clientIp(), authenticate(sharedSecret({ secrets: [SECRET] }), { failedAuthLimit: limit }));
    return async (token: string, remoteAddress = '192.0.2.1') => {
      const answer = await ask(guard, { remoteAddress, headers: [['Authorization', `Bearer ${token}`]] });
      expect(answer.faults).toEqual([]);
      return answer.passed ? 200 : answer.status;
    };
  }

  it('counts the failures of all processes together', async () => {
    const [one, two] = [instance(CALM), instance(CALM)];
    expect([await one('bad'), await two('bad'), await one('bad')]).toEqual([401, 401, 401]);
    expect([await two('bad'), await one(SECRET), await two(SECRET)]).toEqual([429, 429, 429]);
    expect(await two(SECRET, '192.0.2.2')).toBe(200);
  });

  it('answers 401 no more often than the limit, however many requests come at once', async () => {
    const [one, two] = [instance(CALM), instance(CALM)];
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? one : two)('bad')));
    expect(answers.filter((status) => status === 401)).toHaveLength(3);
    expect(answers.filter((status) => status === 429)).toHaveLength(97);
  });

  describe('while Redis is away', () => {
    it.each([
      ['refuse', [503, 503]],
      ['admit', [401, 200]],
      ['local', [401, 200]],
    ] as const)('follows onStoreFailure: %s', async (onStoreFailure, [bad, good]) => {
      const send = instance({ onStoreFailure });
      await send(SECRET);
      server.pause();
      expect([await send('bad'), await send(SECRET)]).toEqual([bad, good]);
    });

    it("keeps to this process' share of the limit with onStoreFailure: local", async () => {
      const send = instance({ onStoreFailure: 'local' });
      await send(SECRET);
      server.pause();
      const answers: (number | undefined)[] = [];
      for (let i = 0; i < 4; i++) answers.push(await send('bad'));
      expect(answers).toEqual([401, 401, 401, 429]);
    });
  });
});
