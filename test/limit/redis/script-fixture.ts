import type { RedisClient } from '../../../src/limit/redis/client.js';
import { type CallOptions, ScriptClient, type ScriptClientOptions } from '../../../src/limit/redis/script-client.js';

/** A script client whose reports are not listened to. */
export function scriptOf(client: RedisClient, options: Partial<ScriptClientOptions> = {}): ScriptClient {
  const unused = () => undefined;
  const defaults = { prefix: 'gw:', timeout: 10_000, now: undefined, onSuccess: unused, onFailure: unused };
  return new ScriptClient({ client, ...defaults, ...options });
}

/** A call that shares its marker with others. */
export const SHARED_MARKER: CallOptions = { rememberFor: 1000, ownMarker: false, expiresAfter: undefined };
