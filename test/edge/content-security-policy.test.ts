import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CspDirectives, OptionError, type SecurityHeadersOptions, securityHeaders } from '../../src/index.js';
import { testExchange } from '../exchange-fixture.js';

function headersFor(options: SecurityHeadersOptions): Readonly<Record<string, string>> {
  const { exchange, headers } = testExchange();
  void securityHeaders(options)(exchange);
  return headers.all();
}

const policyOf = (directives: CspDirectives) =>
  headersFor({ contentSecurityPolicy: { directives } })['Content-Security-Policy'];

describe('the directives of a Content-Security-Policy', () => {
  it.each<[string, CspDirectives, string]>([
    ['one source', { defaultSrc: "'self'" }, "default-src 'self'"],
    [
      'several directives, in their order',
      { defaultSrc: ["'none'"], imgSrc: ["'self'", 'data:'], 'script-src-elem': ["'self'", "'nonce-abc='"] },
      "default-src 'none'; img-src 'self' data:; script-src-elem 'self' 'nonce-abc='",
    ],
    [
      'directives without a value',
      { defaultSrc: ["'self'"], upgradeInsecureRequests: true, sandbox: [] },
      "default-src 'self'; upgrade-insecure-requests; sandbox",
    ],
    [
      'directives that are left out',
      { defaultSrc: ["'self'"], imgSrc: undefined, fontSrc: false },
      "default-src 'self'",
    ],
    [
      'values that are no sources',
      { sandbox: ['allow-scripts', 'allow-forms'], reportTo: 'none', requireTrustedTypesFor: ["'script'"] },
      "sandbox allow-scripts allow-forms; report-to none; require-trusted-types-for 'script'",
    ],
    [
      'addresses',
      { connectSrc: ['https://api.example:8443/v1/', 'wss://*.example'] },
      'connect-src https://api.example:8443/v1/ wss://*.example',
    ],
  ])('%s', (_what, directives, policy) => {
    expect(policyOf(directives)).toBe(policy);
  });

  it('replace the policy of the preset', () => {
    for (const preset of ['api', 'classic'] as const) {
      const { 'Content-Security-Policy': policy } = headersFor({
        preset,
        contentSecurityPolicy: { directives: { imgSrc: ["'self'"] } },
      });
      expect(policy).toBe("img-src 'self'");
    }
  });

  const RULE = 'must be a source or a list of them, each of visible ASCII without spaces, ";" and ","';
  it.each<[string, unknown, string]>([
    ['a semicolon', { defaultSrc: ["'self'; script-src *"] }, `"contentSecurityPolicy.directives.defaultSrc" ${RULE}`],
    ['a semicolon alone', { defaultSrc: [';'] }, RULE],
    ['a comma', { defaultSrc: ['https://a.example,https://b.example'] }, RULE],
    ['a space', { defaultSrc: "'self' https:" }, RULE],
    ['a line break', { defaultSrc: ["'self'\r\nX-Injected: 1"] }, RULE],
    ['a character beyond ASCII', { defaultSrc: ['https://ä.example'] }, RULE],
    ['an empty source', { defaultSrc: [''] }, RULE],
    ['a number', { defaultSrc: [1] }, RULE],
    ['null', { defaultSrc: null }, RULE],
    [
      'a keyword without quotes',
      { defaultSrc: ['self'] },
      `must have its keywords in single quotes, got 'self'; write "'self'"`,
    ],
    ['a nonce without quotes', { scriptSrc: ['nonce-abc'] }, 'must have its keywords in single quotes'],
    ['a hash without quotes', { scriptSrc: ['sha256-abc='] }, 'must have its keywords in single quotes'],
    ['a directive twice', { imgSrc: ["'self'"], 'img-src': ['*'] }, 'has the directive img-src twice'],
    ['a misspelt directive', { scriptsrc: ["'self'"] }, 'has no option "scriptsrc". Did you mean "scriptSrc"?'],
    ['a name that injects', { 'img-src *; script-src': ['*'] }, 'has no option'],
    ['no directive', {}, 'must have at least one directive'],
    ['directives that are all left out', { imgSrc: false }, 'must have at least one directive'],
    ['a list', ["'self'"], 'takes an object of options'],
    ['nothing', undefined, 'takes an object of options'],
  ])('are refused with %s', (_what, directives, message) => {
    const make = () => securityHeaders({ contentSecurityPolicy: { directives: directives as CspDirectives } });
    expect(make).toThrow(OptionError);
    expect(make).toThrow(message);
  });

  it.each<[string, unknown, string]>([
    ['directives without their name', { defaultSrc: ["'self'"] }, 'has no option "defaultSrc"'],
    ['a list', ["default-src 'self'"], 'must be false or one line of printable ASCII'],
    ['true', true, 'must be false or one line of printable ASCII'],
  ])('contentSecurityPolicy refuses %s', (_what, policy, message) => {
    const make = () => securityHeaders({ contentSecurityPolicy: policy as never });
    expect(make).toThrow(OptionError);
    expect(make).toThrow(message);
  });

  it('are in the header exactly as given, or refused, whatever they are', () => {
    const source = fc.oneof(fc.string(), fc.constantFrom("'self'", 'https:', 'data:', "'none'"));
    fc.assert(
      fc.property(fc.array(source), fc.array(source), (imgSrc, scriptSrc) => {
        let policy: string | undefined;
        try {
          policy = policyOf({ imgSrc, scriptSrc });
        } catch (error) {
          expect(error).toBeInstanceOf(OptionError);
          return;
        }
        expect(policy?.split(';').map((directive) => directive.trim().split(' '))).toEqual([
          ['img-src', ...imgSrc],
          ['script-src', ...scriptSrc],
        ]);
      }),
    );
  });
});

describe('the headers that isolate a page', () => {
  it('are set by option only', () => {
    const names = ['Cross-Origin-Opener-Policy', 'Cross-Origin-Embedder-Policy', 'Origin-Agent-Cluster'];
    for (const preset of ['api', 'classic'] as const) {
      const headers = headersFor({ preset });
      expect(names.filter((name) => name in headers)).toEqual([]);
    }
    expect(
      headersFor({
        crossOriginOpenerPolicy: 'same-origin',
        crossOriginEmbedderPolicy: 'require-corp',
        originAgentCluster: true,
      }),
    ).toMatchObject({
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Embedder-Policy': 'require-corp',
      'Origin-Agent-Cluster': '?1',
    });
    const none = headersFor({
      crossOriginOpenerPolicy: false,
      crossOriginEmbedderPolicy: false,
      originAgentCluster: false,
    });
    expect(names.filter((name) => name in none)).toEqual([]);
  });

  it.each<[string, unknown, string]>([
    ['crossOriginOpenerPolicy', 'same-site', 'must be one of same-origin, same-origin-allow-popups,'],
    ['crossOriginOpenerPolicy', true, 'must be one of same-origin, same-origin-allow-popups,'],
    ['crossOriginEmbedderPolicy', 'corp', 'must be one of require-corp, credentialless, unsafe-none'],
    ['originAgentCluster', '?1', 'must be true or false'],
    ['originAgentCluster', 1, 'must be true or false'],
  ])('%s refuses %j', (option, value, message) => {
    const make = () => securityHeaders({ [option]: value });
    expect(make).toThrow(OptionError);
    expect(make).toThrow(`gatewarden: securityHeaders "${option}" ${message}`);
  });
});
