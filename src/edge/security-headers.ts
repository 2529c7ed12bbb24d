import { checkExchange } from '../core/check-exchange.js';
import type { Exchange } from '../core/exchange.js';
import type { Guard } from '../core/guard.js';
import { named } from '../core/guard-name.js';
import { badOption, boolean, checkOptionNames, type OptionNames, oneOf } from '../core/option.js';
import type { RequestView } from '../core/request-view.js';
import { type CspDirectives, contentSecurityPolicy } from './content-security-policy.js';

const HEADER_NAMES = {
  xContentTypeOptions: 'X-Content-Type-Options',
  xFrameOptions: 'X-Frame-Options',
  contentSecurityPolicy: 'Content-Security-Policy',
  xXssProtection: 'X-XSS-Protection',
  strictTransportSecurity: 'Strict-Transport-Security',
  referrerPolicy: 'Referrer-Policy',
  permissionsPolicy: 'Permissions-Policy',
  crossOriginResourcePolicy: 'Cross-Origin-Resource-Policy',
  crossOriginOpenerPolicy: 'Cross-Origin-Opener-Policy',
  crossOriginEmbedderPolicy: 'Cross-Origin-Embedder-Policy',
  originAgentCluster: 'Origin-Agent-Cluster',
} as const;

type HeaderOption = keyof typeof HEADER_NAMES;

const OPENER_POLICIES = ['same-origin', 'same-origin-allow-popups', 'noopener-allow-popups', 'unsafe-none'] as const;
const EMBEDDER_POLICIES = ['require-corp', 'credentialless', 'unsafe-none'] as const;

/** Options with values of their own. */
interface TypedOptions {
  /**
   * `Content-Security-Policy`: the policy as text, or its directives, such as `{ directives: { defaultSrc: ["'self'"] } }`.
   * They replace the preset's policy.
   */
  readonly contentSecurityPolicy?: string | false | { readonly directives: CspDirectives } | undefined;
  /** Separates a page from the windows that it opens and that opened it. Neither preset sets it. */
  readonly crossOriginOpenerPolicy?: (typeof OPENER_POLICIES)[number] | false | undefined;
  /** Lets a page load only what allows it. With an opener policy, it isolates the page. Neither preset sets it. */
  readonly crossOriginEmbedderPolicy?: (typeof EMBEDDER_POLICIES)[number] | false | undefined;
  /** Whether to ask for a process for this origin alone. Neither preset sets it. */
  readonly originAgentCluster?: boolean | undefined;
}

/**
 * The options of `securityHeaders`: a value for each header, or false to omit it. Other headers keep the preset's
 * value.
 */
export type SecurityHeadersOptions = {
  readonly [option in Exclude<HeaderOption, keyof TypedOptions>]?: string | false | undefined;
} & TypedOptions & {
    /**
     * - `api` (default): for responses that are not shown as a page. They cannot be framed or embedded, and load nothing.
     *   HSTS is sent over https only (RFC 6797 section 7.2).
     * - `classic`: the headers that many older services send, such as `X-XSS-Protection: 1; mode=block`, and HSTS on
     *   every response.
     */
    readonly preset?: 'api' | 'classic' | undefined;
  };

const OPTIONS: OptionNames<SecurityHeadersOptions> = {
  preset: true,
  xContentTypeOptions: true,
  xFrameOptions: true,
  contentSecurityPolicy: true,
  xXssProtection: true,
  strictTransportSecurity: true,
  referrerPolicy: true,
  permissionsPolicy: true,
  crossOriginResourcePolicy: true,
  crossOriginOpenerPolicy: true,
  crossOriginEmbedderPolicy: true,
  originAgentCluster: true,
};
const HEADER_OPTIONS = Object.keys(HEADER_NAMES) as readonly HeaderOption[];

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
      // The filter that this header controls has vulnerabilities. 0 turns it off in browsers that still have it.
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

/** Visible ASCII, spaces and tabs. Without CR, LF and NUL, a value cannot split the response (RFC 9110 section 5.5). */
const FIELD_VALUE = /^[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?$/;

/**
 * Sets security headers, which restrict what browsers may do with a response. A header that the service sets itself is
 * kept. If a request passes several of these guards, only the last one counts, so that one route can have its own
 * headers.
 *
 * ```ts
 * guard(securityHeaders({ contentSecurityPolicy: { directives: { defaultSrc: ["'self'"] } }, xFrameOptions: false }))
 * ```
 * @throws OptionError for an unknown preset, a value that is neither false nor one line of printable ASCII, or a directive
 * that is unknown or could end another
 */
export function securityHeaders(options: SecurityHeadersOptions = {}): Guard {
  checkOptionNames('securityHeaders', options, OPTIONS);
  const preset = PRESETS[oneOf('securityHeaders', 'preset', options.preset ?? 'api', ['api', 'classic'])];
  const overHttp: [name: string, value: string][] = [];
  const overHttps: [name: string, value: string][] = [];
  for (const option of HEADER_OPTIONS) {
    const value = textOf(option, options) ?? preset.values[option] ?? false;
    if (value === false) continue;
    if (typeof value !== 'string' || !FIELD_VALUE.test(value)) {
      throw badOption(
        'securityHeaders',
        option,
        'must be false or one line of printable ASCII without spaces at its ends',
        value,
      );
    }
    overHttps.push([HEADER_NAMES[option], value]);
    if (option !== 'strictTransportSecurity' || preset.strictTransportSecurityOverHttp) {
      overHttp.push([HEADER_NAMES[option], value]);
    }
  }

  return named('securityHeaders', (exchange: Exchange) => {
    checkExchange('securityHeaders', exchange);
    const earlier = exchange.securityHeaders;
    if (earlier !== undefined) removeUnchanged(exchange, earlier);
    const headers = overHttp.length < overHttps.length && isHttps(exchange.request) ? overHttps : overHttp;
    let added: typeof headers = headers;
    for (const header of headers) {
      if (!exchange.setDefault(header[0], header[1])) added = added.filter((other) => other !== header);
    }
    exchange.securityHeaders = added;
    return undefined;
  });
}

/** The text of an option that is not a plain text itself. */
function textOf(option: HeaderOption, options: SecurityHeadersOptions): string | false | undefined {
  const value = options[option];
  if (value === undefined || value === false) return value;
  if (option === 'originAgentCluster') return boolean('securityHeaders', option, value) && '?1';
  if (option === 'crossOriginOpenerPolicy') return oneOf('securityHeaders', option, value, OPENER_POLICIES);
  if (option === 'crossOriginEmbedderPolicy') return oneOf('securityHeaders', option, value, EMBEDDER_POLICIES);
  if (typeof value === 'object' && !Array.isArray(value)) return contentSecurityPolicy(value);
  // Anything else is refused below.
  return value as string;
}

/** Removes the headers of an earlier guard, unless the service has changed them since. */
function removeUnchanged(exchange: Exchange, headers: readonly (readonly [name: string, value: string])[]): void {
  for (const [name, value] of headers) if (exchange.get(name) === value) exchange.remove(name);
}

/**
 * Whether the client's request was sent over https, as far as is known. `X-Forwarded-Proto` is believed from any peer:
 * only HSTS depends on it, and browsers ignore HSTS in a response over http (RFC 6797 section 8.1).
 */
function isHttps(request: RequestView): boolean {
  if (request.encrypted) return true;
  const lines = request.fieldLines('x-forwarded-proto');
  return lines.length === 1 && lines[0]?.toLowerCase() === 'https';
}
