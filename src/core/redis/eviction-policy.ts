import { warn } from '../warning.js';

/** The part of a Redis client that reads the server's memory settings. */
export interface InfoClient {
  info(section: string): Promise<string>;
}

/**
 * Warns, and calls `onRisk`, if the server may evict keys that are still needed. Some hosted services forbid `INFO`;
 * then the setting is unknown, and no warning is printed. `evicted` names what would be lost, such as `quota counters`.
 */
export async function warnOfEviction(
  client: InfoClient,
  factory: string,
  evicted: string,
  onRisk: (maxmemoryPolicy: string) => void = () => undefined,
): Promise<void> {
  const info = await infoOf(client);
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1];
  const isUnbounded = /^maxmemory:0\s*$/m.test(info);
  if (policy === undefined || policy === 'noeviction' || isUnbounded) return;
  onRisk(policy);
  warn(`${factory}: maxmemory-policy ${policy} may evict ${evicted}; set it to noeviction`, {
    code: 'GATEWARDEN_EVICTION_RISK',
  });
}

async function infoOf(client: InfoClient): Promise<string> {
  try {
    return await client.info('memory');
  } catch {
    return '';
  }
}
