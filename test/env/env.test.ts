import fc from 'fast-check';
import { describe, expect, expectTypeOf, it, vi } from 'vitest';
import { apiKeys } from '../../src/auth/api-keys/api-keys.js';
import { parseApiKeys } from '../../src/auth/api-keys/parse-api-keys.js';
import { ingestToken } from '../../src/auth/ingest-token.js';
import { jwtIssuer } from '../../src/auth/jwt/index.js';
import { sharedSecret } from '../../src/auth/shared-secret.js';
import { clientIp } from '../../src/client-ip/client-ip.js';
import type { Duration } from '../../src/core/duration.js';
import { OptionError } from '../../src/core/option.js';
import { cors } from '../../src/edge/cors.js';
import {
  boolean,
  checked,
  choice,
  duration,
  integer,
  list,
  port,
  readEnv,
  type Setting,
  type Settings,
  secret,
  size,
  text,
  url,
} from '../../src/env/index.js';

const one = <T>(setting: Setting<T>, value: string | undefined): T =>
  readEnv({ NAME: setting }, { NAME: value }).values.NAME;
const messageOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof OptionError) return error.message;
    throw error;
  }
  throw new Error('there was no OptionError');
};
const mistake = (settings: Settings, env: Readonly<Record<string, string | undefined>>): string =>
  messageOf(() => readEnv(settings, env));

describe('a setting', () => {
  it.each<[string, Setting<unknown>, string, unknown]>([
    ['text', text(), ' a b ', 'a b'],
    ['a whole number', integer(), '60', 60],
    ['a negative number', integer({ min: -5 }), '-5', -5],
    ['a port', port(), '0', 0],
    ['the highest port', port(), '65535', 65_535],
    ...['true', '1', 'YES', 'On'].map((word): [string, Setting<unknown>, string, unknown] => [
      word,
      boolean(),
      word,
      true,
    ]),
    ...['false', '0', 'NO', 'Off'].map((word): [string, Setting<unknown>, string, unknown] => [
      word,
      boolean(),
      word,
      false,
    ]),
    ['a word in another case', choice(['INFO', 'DEBUG']), 'info', 'INFO'],
    ['a length of time', duration(), '24h', '24h'],
    ['bare seconds', duration({ bare: 's' }), '60', '60s'],
    ['a unit, although bare numbers are seconds', duration({ bare: 's' }), '500ms', '500ms'],
    ['bare hours', duration({ bare: 'h' }), '24', '24h'],
    ['a size', size(), '64kb', 65_536],
    ['bare bytes', size(), '1500', 1500],
    ['bare megabytes', size({ bare: 'mb' }), '50', 52_428_800],
    ['a URL', url(), 'https://a.example/x', 'https://a.example/x'],
    [
      'a URL with another accepted protocol',
      url({ protocols: ['redis', 'rediss'] }),
      'redis://localhost:6379',
      'redis://localhost:6379',
    ],
    ['a list', list(), ' a, b ,,c', ['a', 'b', 'c']],
    ['a secret', secret({ minLength: 3 }), 'abc', 'abc'],
  ])('reads %s', (_what, setting, value, expected) => {
    expect(one(setting, value)).toEqual(expected);
  });

  it.each<[string, Setting<unknown>, string, string]>([
    ['a word as a number', integer(), 'ten', "must be a whole number from 0 to 9007199254740991, got 'ten'"],
    ['a fraction', integer(), '1.5', 'whole number'],
    ['a number with an exponent', integer(), '1e3', 'whole number'],
    ['a hexadecimal number', integer(), '0x10', 'whole number'],
    ['a number below the minimum', integer({ min: 1 }), '0', 'from 1'],
    ['a number above the maximum', integer({ max: 5 }), '6', 'to 5'],
    ['a port that does not exist', port(), '65536', 'to 65535'],
    ['an abbreviated boolean', boolean(), 'n', "must be true or false, got 'n'"],
    ['a word that is neither true nor false', boolean(), 'maybe', "must be true or false, got 'maybe'"],
    ['a part of an accepted word', choice(['INFO', 'DEBUG']), 'inf', "must be one of INFO, DEBUG, got 'inf'"],
    ['a word that is not in the list', choice(['INFO', 'DEBUG']), 'WARN', "must be one of INFO, DEBUG, got 'WARN'"],
    ['a word as a duration', duration(), 'soon', "must be a length of time such as '500ms', '30s'"],
    ['a bare number as a duration', duration(), '60', "needs a unit, got '60'; write '60s' or '60ms'"],
    ['a duration of zero', duration({ bare: 's' }), '0', "must be at least '1ms'"],
    ['a size with a space', size(), '5 MB', 'size'],
    ['a host name as a URL', url(), 'a.example', 'http:// or https://'],
    ['a URL with another protocol', url(), 'ftp://a.example', 'http:// or https://'],
    [
      'a URL with user name and password',
      url(),
      'https://u:c4n4ry@a.example',
      'must not contain a user name or password',
    ],
    ['a URL with only a password', url(), 'https://:c4n4ry@a.example', 'must not contain a user name or password'],
    ['a URL with only a user name', url(), 'https://c4n4ry@a.example', 'must not contain a user name or password'],
    ['a URL with another protocol and a password', url(), 'ftp://u:c4n4ry@a.example', 'http:// or https://'],
    [
      'text that does not match its pattern',
      text({ pattern: /^[a-z]+$/, rule: 'must be lower-case letters' }),
      'A1',
      "must be lower-case letters, got 'A1'",
    ],
    ['text against a pattern without a rule', text({ pattern: /^[a-z]+$/ }), 'A1', "must match /^[a-z]+$/, got 'A1'"],
    ['a short secret', secret({ minLength: 40 }), 'c4n4ry', 'at least 40 characters'],
  ])('refuses %s', (_what, setting, value, expected) => {
    const message = mistake({ NAME: setting }, { NAME: value });
    expect(message).toContain('"NAME"');
    expect(message).toContain(expected);
    expect(message).not.toContain('c4n4ry');
  });

  it.each([undefined, '', '  ', '\t\n'])('treats %j as not set', (value) => {
    expect(one(text({ default: 'x' }), value)).toBe('x');
    expect(one(text({ optional: true }), value)).toBeUndefined();
    expect(one(duration({ default: '60s' }), value)).toBe('60s');
    expect(mistake({ NAME: text() }, { NAME: value })).toContain('"NAME" must be set');
  });

  it('types its value', () => {
    const { values } = readEnv(
      {
        A: text({ default: 'a' }),
        B: integer({ optional: true }),
        C: choice(['x', 'y'], { default: 'x' }),
        D: list({ default: [] }),
      },
      {},
    );
    expectTypeOf(values.A).toEqualTypeOf<string>();
    expectTypeOf(values.B).toEqualTypeOf<number | undefined>();
    expectTypeOf(values.C).toEqualTypeOf<'x' | 'y'>();
    expectTypeOf(values.D).toEqualTypeOf<readonly string[]>();
    expect(values).toEqual({ A: 'a', B: undefined, C: 'x', D: [] });
    expect(() => Object.assign(values, { A: 'b' })).toThrow(TypeError);
  });

  it('refuses a bad default', () => {
    expect(() => duration({ default: 'soon' as Duration })).toThrow(OptionError);
    expect(() => duration({ default: `${Number.NaN}ms` })).toThrow(OptionError);
    expect(messageOf(() => duration({ default: 60 as unknown as Duration, bare: 's' }))).toBe(
      `gatewarden: duration "default" needs a unit, got 60; write '60s' or '60ms'`,
    );
    expect(() => list({ default: 'loopback' as unknown as string[] })).toThrow(
      /list "default" must be a list of strings/,
    );
    expect(() => integer({ min: 1, default: 0 })).toThrow(OptionError);
    expect(() => port({ default: 70_000 })).toThrow(OptionError);
    expect(() => size({ default: -1 })).toThrow(OptionError);
    const trust = (entries: readonly string[]) => clientIp({ trust: entries });
    expect(() => checked(list({ default: ['everywhere'] }), trust)).toThrow(/"default" is not accepted.*everywhere/);
    expect(one(checked(list({ default: ['loopback'] }), trust), '')).toEqual(['loopback']);
    expect(one(duration({ default: '1500ms' }), '')).toBe('1500ms');
    expect(one(size({ default: 1500 }), '')).toBe(1500);
    expect(one(size({ default: 1500, bare: 'mb' }), '')).toBe(1500);
  });

  it('reads the same text alike each time, even if its pattern has the flag g', () => {
    const setting = text({ pattern: /^a+$/g });
    for (let i = 0; i < 3; i++) expect(one(setting, 'aaa')).toBe('aaa');
  });

  it('shows no secret, even if a guard checks it', () => {
    const settings = { KEY: secret(), CHECKED: checked(secret(), () => undefined) };
    const { describe: described } = readEnv(settings, { KEY: 'c4n4ry-key', CHECKED: 'c4n4ry-key' });
    expect(described().map(({ value }) => value)).toEqual(['set', 'set']);
  });

  it('lets the guard that will use a value check it', () => {
    const trust = checked(list({ default: [] }), (entries) => clientIp({ trust: entries }));
    expect(one(trust, 'loopback, 10.0.0.0/8')).toEqual(['loopback', '10.0.0.0/8']);
    expect(mistake({ NAME: trust }, { NAME: 'loopback,everywhere' })).toMatch(
      /"NAME" is not accepted: clientIp "trust" .*'everywhere'/,
    );
    // With an empty list as the default, a service leaves the guard out.
    expect(
      one(
        checked(list({ default: [] }), (origin) => cors({ origin })),
        '',
      ),
    ).toEqual([]);
    const broken = checked(text(), () => {
      throw new RangeError('a fault');
    });
    expect(() => one(broken, 'x')).toThrow(RangeError);
    const hidden = checked(secret(), (value) => {
      throw new OptionError(`gatewarden: never ${value}`);
    });
    expect(mistake({ NAME: hidden }, { NAME: 'c4n4ry' })).toContain('"NAME" is not accepted');
    expect(mistake({ NAME: hidden }, { NAME: 'c4n4ry' })).not.toContain('c4n4ry');
  });
});

describe('a secret that a guard refuses', () => {
  const jwt = (key: string) => jwtIssuer({ algorithm: 'HS256', key, expiresIn: '24h' });
  it.each<[string, (value: string) => unknown, string, string]>([
    ['short shared secret', (value) => sharedSecret({ secrets: [value] }), 'c4n4ry', 'at least 32 characters'],
    ['shared secret with a space', (value) => sharedSecret({ secrets: [value] }), 'c4n4ry '.repeat(9), 'secrets[0]'],
    ['second token', (value) => ingestToken({ tokens: value.split(',') }), `${'c4n4ry'.repeat(4)},c4n4ry`, 'tokens[1]'],
    ['list without a limit', parseApiKeys, 'c4n4ry-key', 'keys[0]" must have three parts, key:client:limit'],
    ['limit', parseApiKeys, 'c4n4ry-key:client:c4n4ry', 'must have a positive whole number as its limit'],
    ['repeated key', (value) => apiKeys({ keys: value.split(',') }), 'c4n4ry-key,c4n4ry-key', 'has the same key as'],
    ['JWT secret', jwt, 'c4n4ry', 'must be at least 32 bytes long for HS256'],
  ])('is explained without being shown: %s', (_what, check, value, rule) => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const message = mistake({ NAME: checked(secret(), check) }, { NAME: value });
    expect(message).toContain('"NAME" is not accepted: ');
    expect(message).toContain(rule);
    expect(message).not.toContain('c4n4ry');
    vi.restoreAllMocks();
  });

  it.each([
    ['that shows values', (value: string) => integer({ min: value as never })],
    [
      'of the service itself',
      (value: string) => {
        throw new OptionError(`gatewarden: never ${value}`);
      },
    ],
    [
      'that repeats an explained one',
      (value: string) => {
        try {
          return sharedSecret({ secrets: [value] });
        } catch (error) {
          throw new OptionError(`${(error as Error).message}, got ${value}`);
        }
      },
    ],
  ])('is not explained by an error %s', (_what, check) => {
    expect(mistake({ NAME: checked(secret(), check) }, { NAME: 'c4n4ry' })).toBe(
      'gatewarden: bad settings: "NAME" is not accepted',
    );
  });
});

describe('a setting factory', () => {
  it('treats options that are undefined as not given', () => {
    const nothing: { readonly [name: string]: undefined } = {};
    const { a, b } = nothing;
    expect(one(text({ default: 'x', optional: a, pattern: a, rule: b }), undefined)).toBe('x');
    expect(one(integer({ min: a, max: b, default: 1, optional: a }), '')).toBe(1);
    expect(one(port({ optional: true, default: a }), '')).toBeUndefined();
    expect(one(boolean({ optional: true, default: a }), '')).toBeUndefined();
    expect(one(choice(['a', 'b'], { optional: true, default: a }), '')).toBeUndefined();
    expect(one(duration({ default: '1s', bare: a }), '')).toBe('1s');
    expect(one(size({ default: '1kb', bare: a }), '')).toBe(1024);
    expect(one(url({ optional: true, default: a, protocols: b }), '')).toBeUndefined();
    expect(one(list({ optional: true, default: a }), '')).toBeUndefined();
    expect(one(secret({ optional: true, minLength: a }), '')).toBeUndefined();
    expect(mistake({ NAME: text({ default: a, optional: a }) }, {})).toContain('"NAME" must be set');
    expectTypeOf(integer({ default: 1, max: a })).toEqualTypeOf<Setting<number>>();
  });

  it.each<[string, () => unknown, string]>([
    // @ts-expect-error: no such option
    ['text', () => text({ patern: /a/ }), 'text has no option "patern". Did you mean "pattern"?'],
    // @ts-expect-error: no such option
    ['integer', () => integer({ minimum: 1 }), 'integer has no option "minimum".'],
    // @ts-expect-error: no such option
    ['port', () => port({ default: 80, max: 70_000 }), 'port has no option "max".'],
    // @ts-expect-error: no such option
    ['boolean', () => boolean({ defualt: true }), 'boolean has no option "defualt". Did you mean "default"?'],
    // @ts-expect-error: no such option
    ['choice', () => choice(['a'], { fallback: 'a' }), 'choice has no option "fallback".'],
    // @ts-expect-error: no such option
    ['duration', () => duration({ unit: 's', default: '60s' }), 'duration has no option "unit".'],
    // @ts-expect-error: no such option
    ['size', () => size({ unit: 'mb', default: '50mb' }), 'size has no option "unit".'],
    // @ts-expect-error: no such option
    ['url', () => url({ protocol: 'https' }), 'url has no option "protocol". Did you mean "protocols"?'],
    // @ts-expect-error: no such option
    ['list', () => list({ separator: ';' }), 'list has no option "separator".'],
    // @ts-expect-error: a secret has no default
    ['secret', () => secret({ default: 'c4n4ry' }), 'secret has no option "default".'],
  ])('%s refuses an unknown option', (_factory, create, expected) => {
    const message = messageOf(create);
    expect(message).toContain(`gatewarden: ${expected}`);
    expect(message).not.toContain('c4n4ry');
  });

  it.each<[string, () => unknown, string]>([
    [
      'a pattern that is a string',
      () => text({ pattern: '^a' as never }),
      'text "pattern" must be a regular expression',
    ],
    ['a rule that is empty', () => text({ rule: '' }), 'text "rule" must be a non-empty string'],
    ['a minimum that is not a number', () => integer({ min: '1' as never }), 'integer "min" must be a whole number'],
    ['a minimum above the maximum', () => integer({ min: 5, max: 4 }), 'integer "min" must be at most "max", 4, got 5'],
    ['no words', () => choice([]), 'choice "words" must be a list of one or more non-empty strings'],
    ['an unknown unit of durations', () => duration({ bare: 'sec' as never }), 'duration "bare" must be one of ms, s'],
    ['an unknown unit of sizes', () => size({ bare: 'tb' as never }), 'size "bare" must be one of b, kb, mb, gb'],
    ['a protocol with its colon', () => url({ protocols: ['https:'] }), 'url "protocols" must be a list of protocols'],
    ['a minimum length of zero', () => secret({ minLength: 0 }), 'secret "minLength" must be a positive integer'],
    ['"optional" as a word', () => port({ optional: 'yes' as never }), 'port "optional" must be true or false'],
    ['a check that is not a function', () => checked(text(), 'x' as never), 'checked "check" must be a function'],
    ['options that are a string', () => text('x' as never), 'text takes an object of options'],
  ])('refuses %s', (_what, create, expected) => {
    expect(messageOf(create)).toContain(`gatewarden: ${expected}`);
  });
});

describe('readEnv', () => {
  it('reports a single mistake on one line', () => {
    expect(mistake({ RATE_LIMIT_PERIOD_SECONDS: duration() }, { RATE_LIMIT_PERIOD_SECONDS: '60' })).toBe(
      `gatewarden: bad settings: "RATE_LIMIT_PERIOD_SECONDS" needs a unit, got '60'; write '60s' or '60ms'`,
    );
  });

  it('refuses a setting that is not one', () => {
    expect(mistake({ PORT: 8000 } as unknown as Settings, {})).toContain('readEnv "PORT" must be a setting');
    expect(mistake({ PORT: port } as unknown as Settings, {})).toContain('readEnv "PORT" must be a setting');
  });

  it('reports all mistakes at once', () => {
    const settings = {
      PORT: port(),
      API_KEY: secret({ minLength: 16 }),
      DEBUG: boolean({ default: false }),
      NAME: text(),
    };
    expect(mistake(settings, { PORT: 'x', API_KEY: 'c4n4ry', DEBUG: 'true' })).toBe(
      [
        'gatewarden: bad settings:',
        `  "PORT" must be a whole number from 0 to 65535, got 'x'`,
        '  "API_KEY" must be at least 16 characters',
        '  "NAME" must be set',
      ].join('\n'),
    );
  });

  it('describes every variable as it was set, without secrets', () => {
    const { describe: described } = readEnv(
      {
        INGEST_TOKEN: secret({ optional: true }),
        API_KEY: secret(),
        API_HOST: text({ default: '127.0.0.1' }),
        ORIGINS: list({ default: [] }),
        PROXIES: list({ default: [] }),
        HOSTS: list({ default: ['a.example', 'b.example'] }),
        PERIOD: duration({ default: '60s' }),
        PERIOD_SECONDS: duration({ bare: 's' }),
        SIZE: size({ default: '1mb' }),
        SIZE_MB: size({ bare: 'mb' }),
        BYTES: size({ default: 1500 }),
        LEVEL: choice(['INFO', 'DEBUG']),
        URL: url({ optional: true }),
      },
      {
        API_KEY: 'c4n4ry-key',
        ORIGINS: 'https://a.example,https://b.example',
        PERIOD_SECONDS: '60',
        SIZE_MB: '50',
        LEVEL: 'debug',
      },
    );
    expect(described()).toEqual([
      { name: 'INGEST_TOKEN', value: 'not set', source: 'default' },
      { name: 'API_KEY', value: 'set', source: 'environment' },
      { name: 'API_HOST', value: '127.0.0.1', source: 'default' },
      { name: 'ORIGINS', value: 'https://a.example,https://b.example', source: 'environment' },
      { name: 'PROXIES', value: 'none', source: 'default' },
      { name: 'HOSTS', value: 'a.example, b.example', source: 'default' },
      { name: 'PERIOD', value: '60s', source: 'default' },
      { name: 'PERIOD_SECONDS', value: '60', source: 'environment' },
      { name: 'SIZE', value: '1mb', source: 'default' },
      { name: 'SIZE_MB', value: '50', source: 'environment' },
      { name: 'BYTES', value: '1500b', source: 'default' },
      { name: 'LEVEL', value: 'debug', source: 'environment' },
      { name: 'URL', value: 'not set', source: 'default' },
    ]);
  });

  it('shows no secret in an error, whatever it is and whatever else is wrong', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 6, unit: 'grapheme' }), fc.nat(60), (value, minLength) => {
        fc.pre(value.trim().length > 5);
        const settings = { KEY: secret({ minLength: minLength + 1 }), PORT: port() };
        expect(mistake(settings, { KEY: value, PORT: 'x' })).not.toContain(value.trim());
      }),
    );
  });
});

/** The variables that the guides of the five services name, with the values that they show. */
const GUIDES: readonly (readonly [guide: string, settings: Settings, env: Readonly<Record<string, string>>])[] = [
  [
    'Point-E',
    {
      POINT_E_SECRET_KEY: secret(),
      RATE_LIMIT_PER_IP: integer({ min: 1 }),
      RATE_LIMIT_WINDOW: duration({ bare: 's' }),
    },
    { POINT_E_SECRET_KEY: 'c4n4ry-secret', RATE_LIMIT_PER_IP: '5', RATE_LIMIT_WINDOW: '86400' },
  ],
  [
    'SAM',
    {
      JWT_SECRET: secret(),
      API_KEYS: secret(),
      ADMIN_API_KEY: secret(),
      REDIS_URL: url({ protocols: ['redis', 'rediss'] }),
      DEFAULT_RATE_LIMIT: integer({ min: 1 }),
      AUTHENTICATED_RATE_LIMIT: integer({ min: 1 }),
      ENABLE_USAGE_TRACKING: boolean(),
      LOG_LEVEL: choice(['DEBUG', 'INFO', 'WARNING', 'ERROR']),
      MAX_FILE_SIZE_MB: size({ bare: 'mb' }),
      MAX_GPU_TIME_SECONDS: duration({ bare: 's' }),
    },
    {
      JWT_SECRET: 'your-super-secret-jwt-key-here',
      API_KEYS: 'key1:client1:100,key2:client2:50',
      ADMIN_API_KEY: 'admin-super-secret-key',
      REDIS_URL: 'redis://localhost:6379',
      DEFAULT_RATE_LIMIT: '10',
      AUTHENTICATED_RATE_LIMIT: '100',
      ENABLE_USAGE_TRACKING: 'true',
      LOG_LEVEL: 'INFO',
      MAX_FILE_SIZE_MB: '50',
      MAX_GPU_TIME_SECONDS: '300',
    },
  ],
  [
    'AI Factory',
    {
      API_KEY: secret(),
      CORS_ORIGINS: list(),
      RATE_LIMIT_ENABLED: boolean(),
      RATE_LIMIT_REQUESTS: integer({ min: 1 }),
      RATE_LIMIT_PERIOD_SECONDS: duration({ bare: 's' }),
      DEBUG: boolean(),
      TRUSTED_HOSTS: list(),
    },
    {
      API_KEY: 'sk-test-key-ai-factory-2025',
      CORS_ORIGINS: 'http://localhost:3000,http://localhost:3001,http://localhost:8000',
      RATE_LIMIT_ENABLED: 'true',
      RATE_LIMIT_REQUESTS: '100',
      RATE_LIMIT_PERIOD_SECONDS: '60',
      DEBUG: 'false',
      TRUSTED_HOSTS: 'localhost,127.0.0.1,yourdomain.com',
    },
  ],
  [
    'Image2Model',
    {
      API_KEY: secret({ optional: true }),
      ADMIN_API_KEY: secret(),
      ENVIRONMENT: choice(['development', 'production']),
    },
    { API_KEY: '', ADMIN_API_KEY: 'c4n4ry-admin', ENVIRONMENT: 'development' },
  ],
  [
    'live ingest',
    {
      INGEST_TOKEN: secret({ optional: true }),
      API_HOST: text(),
      API_PORT: port(),
      INGEST_RATE_LIMIT: integer({ min: 1 }),
      API_CORS_ORIGINS: list(),
    },
    {
      INGEST_TOKEN: 'your-secret-token-here',
      API_HOST: '127.0.0.1',
      API_PORT: '8000',
      INGEST_RATE_LIMIT: '60',
      API_CORS_ORIGINS: 'http://localhost:5173,http://localhost:3000',
    },
  ],
];

it.each(GUIDES)('reads every variable of the %s guide with the value that the guide shows', (_guide, settings, env) => {
  expect(Object.keys(readEnv(settings, env).values)).toEqual(Object.keys(settings));
  expect(Object.keys(env)).toEqual(Object.keys(settings));
});
