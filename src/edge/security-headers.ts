import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { badOption, checkOptionNames, oneOf } from '../core/option.js';
import type { RequestView } from '../core/request-view.js';

const HEADER_NAMES = {
  xContentTypeOptions: 'X-Content-Type-Options',
  xFrameOptions: 'X-Frame-Options',
  contentSecurityPolicy: 'Content-Security-Policy',
  xXssProtection: 'X-XSS-Protection',
  strictTransportSecurity: 'Strict-Transport-Security',
  referrerPolicy: 'Referrer-Policy',
  permissionsPolicy: 'Permissions-Policy',
  crossOriginResourcePolicy: 'Cross-Origin-Resource-Policy',
} as const;

type HeaderOption = keyof typeof HEADER_NAMES;

/** A value for each header, or false to leave it out. What is not named keeps the preset's value. */
export type SecurityHeadersOptions = {
  readonly [option in HeaderOption]?: string | false;
} & {
  /**
   * - `api` (default): for responses that no browser shows as a page. No framing, no embedding, nothing loaded. HSTS is
   *   sent over https only (RFC 6797 section 7.2).
   * - `classic`: the headers that many older services promise, `X-XSS-Protection: 1; mode=block` and HSTS on every
   *   response among them.
   */
  readonly preset?: 'api' | 'classic';
};

interface Preset {
  readonly values: Readonly<Partial<Record<HeaderOption, string | false>>>;
  readonly strictTransportSecurityOverHttp: boolean;
}

const PRESETS: Readonly<Record<'api' | 'classic', Preset>> = {
  api: {
    values: {
      xContentTypeOptions: 'nosniff',
      xFrameOptions: 'DENY',
      contentSecurityPolicy: "default-src 'none'; frame-ancestors 'none'",
      // The filter that the header controlled opened holes of its own; 0 switches it off where it still exists.
      xXssProtection: '0',
      strictTransportSecurity: 'max-age=31536000',
      referrerPolicy: 'no-referrer',
      permissionsPolicy: 'camera=(), geolocation=(), microphone=()',
      crossOriginResourcePolicy: 'same-origin',
    },
    strictTransportSecurityOverHttp: false,
  },
  classic: {
    values: {
      xContentTypeOptions: 'nosniff',
      xFrameOptions: 'DENY',
      xXssProtection: '1; mode=block',
      strictTransportSecurity: 'max-age=31536000',
      referrerPolicy: 'strict-origin-when-cross-origin',
      permissionsPolicy: 'geolocation=(), microphone=(), camera=()',
    },
    strictTransportSecurityOverHttp: true,
  },
};

/** Visible ASCII, spaces and tabs: no CR, LF or NUL can split the response (RFC 9110 section 5.5). */
const FIELD_VALUE = /^[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?$/;

/**
 * Sets headers that switch off what browsers would otherwise allow. A header that the service sets itself is left as it
 * is. Where several stand on the way of a request, the last one counts, all of it: a page that needs more than the rest of
 * the service has one of its own.
 *
 * ```ts
 * guard(securityHeaders({ contentSecurityPolicy: "default-src 'self'", crossOriginResourcePolicy: false }))
 * ```
 * @throws OptionError for a value that is neither false nor one line of printable ASCII
 */
export function securityHeaders(options: SecurityHeadersOptions = {}): Guard {
  const names = Object.keys(HEADER_NAMES) as HeaderOption[];
  checkOptionNames('securityHeaders', options, ['preset', ...names]);
  const preset = PRESETS[oneOf('securityHeaders', 'preset', options.preset ?? 'api', ['api', 'classic'])];
  const overHttp: [name: string, value: string][] = [];
  const overHttps: [name: string, value: string][] = [];
  for (const option of names) {
    const value = options[option] ?? preset.values[option] ?? false;
    if (value === false) continue;
    if (typeof value !== 'string' || !FIELD_VALUE.test(value)) {
      throw badOption('securityHeaders', option, 'must be false or one line of printable ASCII', value);
    }
    overHttps.push([HEADER_NAMES[option], value]);
    if (option !== 'strictTransportSecurity' || preset.strictTransportSecurityOverHttp) {
      overHttp.push([HEADER_NAMES[option], value]);
    }
  }

  return function securityHeaders(exchange: Exchange) {
    const before = exchange.securityHeaders;
    if (before !== undefined) takeBack(exchange, before);
    const headers = overHttp.length < overHttps.length && isHttps(exchange.request) ? overHttps : overHttp;
    let own: typeof headers = headers;
    for (const header of headers) {
      if (!exchange.setDefault(header[0], header[1])) own = own.filter((other) => other !== header);
    }
    exchange.securityHeaders = own;
    return undefined;
  };
}

/** What the service has set in the meantime stays, unless it is the same. */
function takeBack(exchange: Exchange, headers: readonly (readonly [name: string, value: string])[]): void {
  for (const [name, value] of headers) if (exchange.get(name) === value) exchange.remove(name);
}

/**
 * Whether the client came over https, as far as is known. A forwarding header is believed from anybody here: it decides
 * only about HSTS, and browsers ignore that on a response that did not come over https (RFC 6797 section 8.1).
 */
function isHttps(request: RequestView): boolean {
  if (request.encrypted) return true;
  const lines = request.fieldLines('x-forwarded-proto');
  return lines.length === 1 && lines[0]?.toLowerCase() === 'https';
}
