/** How node-redis sends a command and reads its reply. The numbers are those of the reply types in RESP. */
export interface NodeRedisReplyOptions {
  readonly abortSignal?: AbortSignal;
  readonly typeMapping?: {
    readonly 36?: typeof Buffer | typeof String;
    readonly 43?: typeof String;
    readonly 58?: typeof Number;
    readonly 61?: typeof String;
  };
}

/** The part that is used of each client of node-redis 5 (the package `redis`). */
export interface NodeRedisBase {
  readonly isOpen: boolean;
  withTypeMapping(typeMapping: object): object;
  on(event: 'ready' | 'error', listener: () => void): unknown;
  off(event: 'ready', listener: () => void): unknown;
}

/** What `createClient` of node-redis 5 (the package `redis`) returns. */
export interface NodeRedisSingle extends NodeRedisBase {
  readonly isReady: boolean;
  sendCommand(command: readonly (string | Buffer)[], options?: NodeRedisReplyOptions): Promise<unknown>;
  connect(): Promise<unknown>;
  destroy(): void;
}

/** A primary of a Cluster. */
export interface NodeRedisNode {
  readonly address: string;
  readonly client?: NodeRedisSingle | undefined;
}

/** What `createCluster` of node-redis 5 (the package `redis`) returns. */
export interface NodeRedisCluster extends NodeRedisBase {
  readonly masters: readonly NodeRedisNode[];
  readonly slots: readonly { readonly master: NodeRedisNode }[];
  sendCommand(
    firstKey: string | Buffer | undefined,
    isReadonly: boolean | undefined,
    command: (string | Buffer)[],
    options?: NodeRedisReplyOptions,
  ): Promise<unknown>;
}

/** What `createSentinel` of node-redis 5 (the package `redis`) returns. */
export interface NodeRedisSentinel extends NodeRedisBase {
  readonly isReady: boolean;
  getMasterNode(): object | undefined;
  sendCommand(
    isReadonly: boolean | undefined,
    command: (string | Buffer)[],
    options?: NodeRedisReplyOptions,
  ): Promise<unknown>;
}

/** A client of node-redis 5 (the package `redis`), with RESP2 or RESP3. */
export type NodeRedisClient = NodeRedisSingle | NodeRedisCluster | NodeRedisSentinel;

/** Whether a value is a client of node-redis 5. Its pool is none: the scripts need calls to arrive in order. */
export function isNodeRedis(client: object): client is NodeRedisClient {
  const has = (name: string) => typeof Reflect.get(client, name) === 'function';
  return has('sendCommand') && has('withTypeMapping') && !('totalClients' in client);
}
