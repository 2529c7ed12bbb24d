import type { RequestView } from '../core/request-view.js';

/** What a client prefers (RFC 7240). */
export interface Preference {
  /** To get 202 at once. */
  readonly isAsync: boolean;
  /** The longest that it waits for a result, in milliseconds. */
  readonly wait: number | undefined;
}

const MAX_PREFERENCES = 32;

/** Reads `Prefer`. Of a preference that is repeated, only the first one counts. What cannot be read is ignored. */
export function preferenceOf(request: RequestView): Preference {
  const found = new Map<string, string>();
  const all = request.fieldLines('prefer').join(',').slice(0, 4096).split(',').slice(0, MAX_PREFERENCES);
  for (const preference of all) {
    const [name = '', value = ''] = (preference.split(';')[0] ?? '').split('=');
    const key = name.trim().toLowerCase();
    if (!found.has(key)) found.set(key, value.trim().replace(/^"(.*)"$/, '$1'));
  }
  const seconds = found.get('wait') ?? '';
  return {
    isAsync: found.has('respond-async'),
    wait: /^\d{1,9}$/.test(seconds) ? Number(seconds) * 1000 : undefined,
  };
}
