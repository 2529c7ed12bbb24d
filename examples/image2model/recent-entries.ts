import type { AuditRecord, Logger } from 'gatewarden';

/** One entry of a log, as `/logs/*` shows it. */
export interface Entry {
  /** ISO 8601. */
  readonly timestamp: string;
  readonly level: 'INFO' | 'WARNING' | 'ERROR';
  readonly message: string;
  readonly [field: string]: unknown;
}

/** The most recent entries of a log. */
export class RecentEntries {
  readonly #entries: Entry[] = [];
  readonly #maxEntries: number;

  constructor(maxEntries = 1000) {
    this.#maxEntries = maxEntries;
  }

  add(level: Entry['level'], message: string, fields: object): void {
    if (this.#entries.length === this.#maxEntries) this.#entries.shift();
    this.#entries.push({ ...fields, timestamp: new Date().toISOString(), level, message });
  }

  /** The last `count` entries of this level, or of any. The newest is the last. */
  last(count: number, level: string | undefined): readonly Entry[] {
    return this.#entries.filter((entry) => level === undefined || entry.level === level).slice(-count);
  }
}

/** A logger that also keeps its lines, without stacks. */
export function keepingLogger(logger: Logger, entries: RecentEntries): Logger {
  const lines = (method: keyof Logger, level: Entry['level']) => (fields: object, message: string) => {
    const { err, ...rest } = fields as { err?: unknown };
    entries.add(level, message, err instanceof Error ? { ...rest, error: err.name } : rest);
    logger[method](fields, message);
  };
  return { info: lines('info', 'INFO'), warn: lines('warn', 'WARNING'), error: lines('error', 'ERROR') };
}

/**
 * Receives every decision about a key, with the hash of the key, the time, the endpoint and the status. Warns when an address
 * has failed so often that its keys are not looked at any more.
 */
export function auditSink(entries: RecentEntries, logger: Logger): (record: AuditRecord) => void {
  return ({ at, outcome, reason, clientId, keyHash, ip, requestId, method, path, status }) => {
    const fields = { at: new Date(at).toISOString(), outcome, reason, clientId, keyHash, ip, requestId, status };
    entries.add(outcome === 'allowed' ? 'INFO' : 'WARNING', `${method} ${path}`, fields);
    if (reason === 'throttled') {
      logger.error({ requestId, ip, keyHash }, 'Suspicious activity: keys of this address keep failing');
    }
  };
}
