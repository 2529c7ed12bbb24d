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
  ] as const)('%s sends exactly its headers', (_name, options, encrypted, expected) => {
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

describe('several securityHeaders on one route', () => {
  it('send exactly the headers of the last one', () => {
    const { exchange, headers } = testExchange({ encrypted: true });
    securityHeaders()(exchange);
    securityHeaders({ preset: 'classic', xFrameOptions: 'SAMEORIGIN', referrerPolicy: false })(exchange);
    const { 'Referrer-Policy': _, ...rest } = CLASSIC;
    expect(headers.all()).toEqual({ ...rest, 'X-Frame-Options': 'SAMEORIGIN' });
    securityHeaders()(exchange);
    expect(headers.all()).toEqual({ ...API, ...HSTS });
  });

  it('keep a header that the service set before them, although the value is the same', () => {
    const { exchange, headers } = testExchange();
    exchange.set('X-Content-Type-Options', 'nosniff');
    securityHeaders()(exchange);
    securityHeaders({ xContentTypeOptions: false })(exchange);
    expect(headers.get('X-Content-Type-Options')).toBe('nosniff');
  });

  it('keep a header that the service set between them', () => {
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

  it.each(presets)('sets its header and keeps the others of preset %s', (preset, headers) => {
    const expected = { ...headers, [name]: 'own-value; x=1' };
    expect(sent({ preset, [option]: 'own-value; x=1' }, { encrypted: true })).toEqual(expected);
  });

  it.each(presets)('omits its header if false and keeps the others of preset %s', (preset, headers) => {
    const expected: Record<string, string> = { ...headers };
    delete expected[name];
    expect(sent({ preset, [option]: false }, { encrypted: true })).toEqual(expected);
  });

  it('keeps a header that the service has set', () => {
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
    ['a trailing space', 'a '],
    ['a leading tab', '\ta'],
    ['an empty string', ''],
    ['true', true],
    ['a number', 1],
    ['a list', ['a']],
  ])('refuses %s at construction and shows the value', (_what, value) => {
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
    ['plain HTTP behind a proxy that reports https', proto('https'), true],
    ['plain HTTP behind a proxy that reports HTTPS', proto('HTTPS'), true],
    ['plain HTTP behind a proxy that reports http', proto('http'), false],
    ['plain HTTP with a list of schemes', proto('https, http'), false],
    ['plain HTTP with two lines', proto('https', 'https'), false],
    ['plain HTTP with a blank line', proto(''), false],
    ['a TLS socket behind a proxy that reports http', { encrypted: true, ...proto('http') }, true],
  ])('in preset api over %s, is sent: %s', (_connection, request, expected) => {
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
    ['a header name instead of its option', { 'X-Frame-Options': 'DENY' }, 'X-Frame-Options'],
    ['an unknown preset', { preset: 'strict' }, "'strict'"],
    ['a preset with a name of Object.prototype', { preset: 'constructor' }, "'constructor'"],
    ['a preset instead of options', 'classic', 'securityHeaders'],
    ['a list of options', [{}], 'securityHeaders'],
    ['null', null, 'securityHeaders'],
  ])('refuses %s', (_what, options, named) => {
    const act = () => securityHeaders(options as SecurityHeadersOptions);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(named);
  });

  it('accepts a tab inside a value, and a value of one character', () => {
    expect(sent({ referrerPolicy: 'a\tb', xFrameOptions: 'D' })).toMatchObject({
      'Referrer-Policy': 'a\tb',
      'X-Frame-Options': 'D',
    });
  });

  it('is not affected by later changes of the options', () => {
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
