import { describe, expect, it } from 'vitest';
import { OptionError } from '../../src/core/option.js';
import { type SecurityHeadersOptions, securityHeaders } from '../../src/edge/security-headers.js';
import { type TestExchangeOptions, testExchange } from '../exchange-fixture.js';

const API = {
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'X-XSS-Protection': '0',
  'Referrer-Policy': 'no-referrer',
  'Permissions-Policy': 'camera=(), geolocation=(), microphone=()',
  'Cross-Origin-Resource-Policy': 'same-origin',
};

/** The table of the AI Factory server's guide. */
const CLASSIC = {
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'X-XSS-Protection': '1; mode=block',
  'Strict-Transport-Security': 'max-age=31536000',
  'Referrer-Policy': 'strict-origin-when-cross-origin',
  'Permissions-Policy': 'geolocation=(), microphone=(), camera=()',
};

const HSTS = { 'Strict-Transport-Security': 'max-age=31536000' };

function sent(options: SecurityHeadersOptions | undefined, request: TestExchangeOptions = {}) {
  const { exchange, headers } = testExchange(request);
  expect((options === undefined ? securityHeaders() : securityHeaders(options))(exchange)).toBeUndefined();
  return headers.all();
}

describe('the presets', () => {
  it.each([
    ['api, without options', undefined, false, API],
    ['api, without options, over https', undefined, true, { ...API, ...HSTS }],
    ['api', { preset: 'api' }, false, API],
    ['api over https', { preset: 'api' }, true, { ...API, ...HSTS }],
    ['classic', { preset: 'classic' }, false, CLASSIC],
    ['classic over https', { preset: 'classic' }, true, CLASSIC],
  ] as const)('%s: these headers and no others', (_name, options, encrypted, expected) => {
    expect(sent(options, { encrypted })).toEqual(expected);
  });
});

const OPTIONS = [
  ['xContentTypeOptions', 'X-Content-Type-Options'],
  ['xFrameOptions', 'X-Frame-Options'],
  ['contentSecurityPolicy', 'Content-Security-Policy'],
  ['xXssProtection', 'X-XSS-Protection'],
  ['strictTransportSecurity', 'Strict-Transport-Security'],
  ['referrerPolicy', 'Referrer-Policy'],
  ['permissionsPolicy', 'Permissions-Policy'],
  ['crossOriginResourcePolicy', 'Cross-Origin-Resource-Policy'],
] as const;

describe('several on the way of one request', () => {
  it('come to what the last one says, all of it', () => {
    const { exchange, headers } = testExchange({ encrypted: true });
    securityHeaders()(exchange);
    securityHeaders({ preset: 'classic', xFrameOptions: 'SAMEORIGIN', referrerPolicy: false })(exchange);
    const { 'Referrer-Policy': _, ...rest } = CLASSIC;
    expect(headers.all()).toEqual({ ...rest, 'X-Frame-Options': 'SAMEORIGIN' });
    securityHeaders()(exchange);
    expect(headers.all()).toEqual({ ...API, ...HSTS });
  });

  it('leave what the service had set before them, though it was the same', () => {
    const { exchange, headers } = testExchange();
    exchange.set('X-Content-Type-Options', 'nosniff');
    securityHeaders()(exchange);
    securityHeaders({ xContentTypeOptions: false })(exchange);
    expect(headers.get('X-Content-Type-Options')).toBe('nosniff');
  });

  it('leave what the service has set between them', () => {
    const { exchange, headers } = testExchange();
    securityHeaders()(exchange);
    exchange.set('X-Frame-Options', 'of the service');
    securityHeaders({ xFrameOptions: 'SAMEORIGIN' })(exchange);
    securityHeaders({ xFrameOptions: false })(exchange);
    expect(headers.get('X-Frame-Options')).toBe('of the service');
  });
});

describe.each(OPTIONS)('%s', (option, name) => {
  const presets = [
    ['api', { ...API, ...HSTS }],
    ['classic', CLASSIC],
  ] as const;

  it.each(presets)('sets its header, and the rest stays as %s has it', (preset, usual) => {
    const expected = { ...usual, [name]: 'own-value; x=1' };
    expect(sent({ preset, [option]: 'own-value; x=1' }, { encrypted: true })).toEqual(expected);
  });

  it.each(presets)('leaves its header out when false, and the rest stays as %s has it', (preset, usual) => {
    const expected: Record<string, string> = { ...usual };
    delete expected[name];
    expect(sent({ preset, [option]: false }, { encrypted: true })).toEqual(expected);
  });

  it('leaves a header alone that is there already', () => {
    for (const preset of ['api', 'classic'] as const) {
      const { exchange, headers } = testExchange({ encrypted: true });
      headers.set(name.toLowerCase(), 'of the handler');
      securityHeaders({ preset, [option]: 'of the option' })(exchange);
      expect(headers.get(name)).toBe('of the handler');
    }
  });

  it.each([
    ['CR and LF', 'a\r\nSet-Cookie: x=1'],
    ['CR', 'a\rb'],
    ['LF', 'a\nb'],
    ['LF at the end', 'a\n'],
    ['NUL', 'a\0b'],
    ['DEL', 'a\x7fb'],
    ['a letter beyond ASCII', 'caf\u00e9'],
    ['a line separator', 'a\u2028b'],
    ['a space at the end', 'a '],
    ['a tab in front', '\ta'],
    ['an empty string', ''],
    ['true', true],
    ['a number', 1],
    ['a list', ['a']],
  ])('refuses %s at construction and shows it', (_what, value) => {
    const act = () => securityHeaders({ [option]: value } as SecurityHeadersOptions);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(`gatewarden: securityHeaders "${option}" must be`);
    expect(act).toThrow(/, got ./);
  });
});

describe('Strict-Transport-Security', () => {
  const proto = (...values: readonly string[]): TestExchangeOptions => ({
    headers: values.map((value) => ['X-Forwarded-Proto', value]),
  });

  it.each([
    ['a TLS socket', { encrypted: true }, true],
    ['a plain socket', {}, false],
    ['a proxy that took the request over https', proto('https'), true],
    ['a proxy that writes HTTPS', proto('HTTPS'), true],
    ['a proxy that took the request over http', proto('http'), false],
    ['a list of schemes', proto('https, http'), false],
    ['two lines', proto('https', 'https'), false],
    ['a blank line', proto(''), false],
    ['a TLS socket behind a proxy that says http', { encrypted: true, ...proto('http') }, true],
  ])('in preset api over %s', (_what, request, expected) => {
    expect('Strict-Transport-Security' in sent({ preset: 'api' }, request)).toBe(expected);
    expect('Strict-Transport-Security' in sent({ strictTransportSecurity: 'max-age=1' }, request)).toBe(expected);
    expect('Strict-Transport-Security' in sent({ preset: 'classic' }, request)).toBe(true);
    expect('Strict-Transport-Security' in sent({ preset: 'classic', strictTransportSecurity: false }, request)).toBe(
      false,
    );
  });
});

describe('securityHeaders', () => {
  it.each([
    ['an unknown option', { hsts: false }, 'hsts'],
    ['a header by its own name', { 'X-Frame-Options': 'DENY' }, 'X-Frame-Options'],
    ['an unknown preset', { preset: 'strict' }, "'strict'"],
    ['a preset out of Object.prototype', { preset: 'constructor' }, "'constructor'"],
    ['a preset instead of options', 'classic', 'securityHeaders'],
    ['a list of options', [{}], 'securityHeaders'],
    ['null', null, 'securityHeaders'],
  ])('refuses %s', (_what, options, named) => {
    const act = () => securityHeaders(options as SecurityHeadersOptions);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(named);
  });

  it('takes a value with a tab within and of one character', () => {
    expect(sent({ referrerPolicy: 'a\tb', xFrameOptions: 'D' })).toMatchObject({
      'Referrer-Policy': 'a\tb',
      'X-Frame-Options': 'D',
    });
  });

  it('is built once: later changes of the options change nothing', () => {
    const options: { xFrameOptions: string | false } = { xFrameOptions: 'SAMEORIGIN' };
    const guard = securityHeaders(options);
    options.xFrameOptions = false;
    for (let i = 0; i < 2; i++) {
      const { exchange, headers } = testExchange();
      guard(exchange);
      expect(headers.get('x-frame-options')).toBe('SAMEORIGIN');
    }
  });
});
