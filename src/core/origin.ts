import type { Exchange } from './exchange.js';
import { badOption, shown } from './option.js';
import { isThenable } from './thenable.js';

/** Returns whether an origin is allowed, or a promise of that. */
export type OriginMatcher = (origin: string, exchange: Exchange) => boolean | Promise<boolean>;

const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?';
const HOST = `(?:${LABEL}(?:\\.${LABEL})*|\\[[0-9a-f:.]+\\])`;
/** An origin as browsers serialize it (RFC 6454 section 6.2): lower case, no path, no default port. */
const ORIGIN = new RegExp(`^([a-z][a-z0-9+.-]*)://(${HOST})(:[1-9]\\d{0,4})?$`);
const PATTERN = new RegExp(`^([a-z][a-z0-9+.-]*)://\\*\\.(${LABEL}(?:\\.${LABEL})*)(:[1-9]\\d{0,4})?$`);
const MAX_LENGTH = 512;
const RULE =
  "must hold origins as browsers send them, such as 'https://app.example.com' or 'https://*.example.com': " +
  'lower case, no path, no trailing slash, no default port';

/**
 * Compiles an origin, a list of origins or a function. `https://*.example.com` matches every subdomain, but not
 * `https://example.com` itself. A function is called for well-formed origins only.
 * @throws OptionError
 */
export function originMatcher(factory: string, allowed: string | readonly string[] | OriginMatcher): OriginMatcher {
  const origins = typeof allowed === 'string' ? [allowed] : allowed;
  if (typeof origins === 'function') {
    return (origin, exchange) => {
      if (origin.length > MAX_LENGTH || !ORIGIN.test(origin)) return false;
      const answer: unknown = origins(origin, exchange);
      return isThenable(answer)
        ? Promise.resolve(answer).then((late) => decision(factory, late))
        : decision(factory, answer);
    };
  }
  if (!Array.isArray(origins) || origins.length === 0) {
    throw badOption(factory, 'origin', "must be '*', an origin, a list of origins, or a function", origins);
  }
  const exact = new Set<string>();
  const subdomains: { readonly start: string; readonly end: string }[] = [];
  for (const origin of origins) {
    const pattern = typeof origin === 'string' ? PATTERN.exec(origin) : null;
    const exactly = typeof origin === 'string' ? ORIGIN.exec(origin) : null;
    const [, scheme = '', host = '', port = ''] = pattern ?? exactly ?? [];
    const example = pattern === null ? origin : `${scheme}://a.${host}${port}`;
    if (scheme === '' || !isSerialized(scheme, example)) throw badOption(factory, 'origin', RULE, origin);
    if (pattern === null) exact.add(origin);
    else subdomains.push({ start: `${scheme}://`, end: `.${host}${port}` });
  }
  return (origin) => {
    if (exact.has(origin)) return true;
    if (subdomains.length === 0 || origin.length > MAX_LENGTH || !ORIGIN.test(origin)) return false;
    return subdomains.some(({ start, end }) => origin.startsWith(start) && origin.endsWith(end));
  };
}

/** Anything but a boolean is a mistake in the function. Read as false, it would deny origins without a word. */
function decision(factory: string, answer: unknown): boolean {
  if (typeof answer === 'boolean') return answer;
  const got = typeof answer === 'string' ? 'a string' : shown(answer);
  throw new TypeError(
    `gatewarden: the function in ${factory} "origin" must return true or false, or a promise, got ${got}`,
  );
}

/**
 * Whether a browser serializes this origin in the same way. If not, such as `https://127.1` or `https://a.com:443`, it
 * would never match. `URL` serializes web origins only; other schemes, such as `tauri://localhost`, are accepted as
 * given.
 */
function isSerialized(scheme: string, origin: string): boolean {
  if (scheme !== 'http' && scheme !== 'https') return true;
  return URL.canParse(origin) && new URL(origin).origin === origin;
}
