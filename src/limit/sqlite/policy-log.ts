import type { QuotaPolicy } from '../policy.js';
import { calendarOf, StoredDay } from './stored-day.js';
import type { StoredLog } from './stored-log.js';
import { StoredWindow } from './stored-window.js';
import type { NumberReader } from './varints.js';

/** The log of a policy, read from a row or empty; undefined for a policy without one. */
export function logOf(policy: QuotaPolicy, row: NumberReader | undefined): StoredLog | undefined {
  if (policy.kind === 'concurrency') return undefined;
  return calendarOf(policy) === undefined ? new StoredWindow(policy.window, row) : new StoredDay(row);
}
