import { disown, type Exchange } from '../exchange.js';
import { badOption } from '../option.js';

/** Whether the pages of an origin are meant. */
export type OriginMatcher = (origin: string, exchange: Exchange) => boolean;

const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?';
const HOST = `(?:${LABEL}(?:\\.${LABEL})*|\\[[0-9a-f:.]+\\])`;
/** An origin as browsers serialise it (RFC 6454 section 6.2): lower case, no path, no default port. */
const ORIGIN = new RegExp(`^([a-z][a-z0-9+.-]*)://(${HOST})(:[1-9]\\d{0,4})?$`);
const PATTERN = new RegExp(`^([a-z][a-z0-9+.-]*)://\\*\\.(${LABEL}(?:\\.${LABEL})*)(:[1-9]\\d{0,4})?$`);
const MAX_LENGTH = 512;
const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: ':80', https: ':443' };

/**
 * A matcher for a list of origins, where `https://*.example.com` means every subdomain and not `https://example.com`
 * itself; or for a function, which is asked for well-formed origins only.
 * @throws OptionError
 */
export function originMatcher(
  factory: string,
  origins: readonly string[] | ((origin: string, exchange: Exchange) => boolean),
): OriginMatcher {
  if (typeof origins === 'function') {
    return (origin, exchange) => {
      if (origin.length > MAX_LENGTH || !ORIGIN.test(origin)) return false;
      const answer: unknown = origins(origin, exchange);
      disown(answer);
      return answer === true;
    };
  }
  if (!Array.isArray(origins) || origins.length === 0) {
    throw badOption(factory, 'origins', "must be '*', a list of origins, or a function", origins);
  }
  const exact = new Set<string>();
  const subdomains: { readonly start: string; readonly end: string }[] = [];
  for (const origin of origins) {
    const rule =
      "must hold origins such as 'https://app.example.com' or 'https://*.example.com': no path, no slash at the end";
    if (typeof origin !== 'string') throw badOption(factory, 'origins', rule, origin);
    const pattern = PATTERN.exec(origin);
    const [, scheme = '', host = '', port = ''] = pattern ?? ORIGIN.exec(origin) ?? [];
    if (scheme === '') throw badOption(factory, 'origins', rule, origin);
    if (DEFAULT_PORTS[scheme] === port) throw badOption(factory, 'origins', 'must leave a default port out', origin);
    if (pattern === null) exact.add(origin);
    else subdomains.push({ start: `${scheme}://`, end: `.${host}${port}` });
  }
  return (origin) => {
    if (exact.has(origin)) return true;
    if (subdomains.length === 0 || origin.length > MAX_LENGTH || !ORIGIN.test(origin)) return false;
    return subdomains.some(({ start, end }) => origin.startsWith(start) && origin.endsWith(end));
  };
}
