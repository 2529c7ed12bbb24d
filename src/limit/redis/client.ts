/**
 * The part of an ioredis client, version 5 or 6, that the store uses: a `Redis` or a `Cluster`. The service creates,
 * connects and closes it, and chooses its options.
 */
export interface RedisClient {
  /** True for a `Cluster`. */
  readonly isCluster: boolean;
  evalsha(sha: string, keyCount: number, ...args: (string | number | Buffer)[]): Promise<unknown>;
  eval(script: string, keyCount: number, ...args: (string | number | Buffer)[]): Promise<unknown>;
  info(section: string): Promise<string>;
  on(event: 'ready', listener: () => void): unknown;
  off(event: 'ready', listener: () => void): unknown;
}
