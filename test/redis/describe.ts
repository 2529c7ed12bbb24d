import { describe, inject } from 'vitest';

export interface DescribeRedisOptions {
  /** Whether the suite can use the server of `REDIS_URL`, by `openRedis()`. Default false: it starts its own server. */
  readonly anyServer?: boolean;
}

/** A suite that runs if there is a Redis, and is skipped otherwise. setup.ts finds out, and says so. */
export function describeRedis(name: string, suite: () => void, { anyServer = false }: DescribeRedisOptions = {}): void {
  const canRun = inject('redis').available || (anyServer && Boolean(process.env.REDIS_URL));
  describe.runIf(canRun)(name, suite);
}
