/**
 * What is used of an ioredis client, 5 or 6: a `Redis` or a `Cluster` that the service made, connects and closes. Its
 * options are the service's own.
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
