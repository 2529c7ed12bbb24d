import { createHash } from 'node:crypto';

/**
 * What `@upstash/ratelimit` needs of its client, over ioredis instead of its own HTTP client, so that its code and its
 * scripts run against the same redis-server as the other sides. Redis knows no `allow-key-locking`, which lets Upstash's
 * server run scripts on different keys at once. The scripts are run without this flag and are the same otherwise.
 */
export function upstashOver(client) {
  const shas = new Map();
  const run = (sha, keys, args) => client.evalsha(sha, keys.length, ...keys, ...args.map((arg) => arg ?? ''));
  return {
    evalsha(sha, keys, args) {
      const loaded = shas.get(sha);
      return loaded === undefined ? Promise.reject(new Error('NOSCRIPT not loaded')) : run(loaded, keys, args);
    },
    async eval(script, keys, args) {
      const loaded = await client.script('LOAD', script.replace('#!lua flags=allow-key-locking', '#!lua'));
      shas.set(createHash('sha1').update(script).digest('hex'), loaded);
      return await run(loaded, keys, args);
    },
  };
}
