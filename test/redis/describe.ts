import { describe, inject } from 'vitest';

export interface DescribeRedisOptions {
  /** The suite takes its server from `openRedis()`, so that of `REDIS_URL` will do; default false: it starts its own. */
  readonly anyServer?: boolean;
}

/** A suite that runs where there is a Redis, and is skipped elsewhere; setup.ts has found out, and said so. */
export function describeRedis(name: string, suite: () => void, { anyServer = false }: DescribeRedisOptions = {}): void {
  const served = inject('redis').available || (anyServer && Boolean(process.env.REDIS_URL));
  describe.runIf(served)(name, suite);
}
