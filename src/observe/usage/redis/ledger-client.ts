import type { ScriptingClient } from '../../../core/redis/script.js';

/** The part of an ioredis client, version 5 or 6, that the ledger uses: a `Redis` or a `Cluster`. */
export interface LedgerRedisClient extends ScriptingClient {
  /** True for a `Cluster`. */
  readonly isCluster?: boolean | undefined;
}
