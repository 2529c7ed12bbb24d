import fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
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
const mistake = (settings: Settings, env: Readonly<Record<string, string | undefined>>): string => {
  try {
    readEnv(settings, env);
  } catch (error) {
    if (error instanceof OptionError) return error.message;
    throw error;
  }
  throw new Error('nothing was wrong');
};

describe('a variable', () => {
  it.each<[string, Setting<unknown>, string, unknown]>([
    ['text', text(), ' a b ', 'a b'],
    ['a whole number', integer(), '60', 60],
    ['a negative one', integer({ min: -5 }), '-5', -5],
    ['a port', port(), '0', 0],
    ['the greatest port', port(), '65535', 65_535],
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
    ['a word', choice(['INFO', 'DEBUG']), 'info', 'INFO'],
    ['a length of time', duration(), '24h', '24h'],
    ['bare seconds', duration({ bare: 's' }), '60', '60s'],
    ['hours', duration({ bare: 'h' }), '24', '24h'],
    ['a size', size(), '64kb', 65_536],
    ['bytes', size(), '1500', 1500],
    ['megabytes', size({ bare: 'mb' }), '50', 52_428_800],
    ['a URL', url(), 'https://a.example/x', 'https://a.example/x'],
    [
      'a URL of another kind',
      url({ protocols: ['redis', 'rediss'] }),
      'redis://localhost:6379',
      'redis://localhost:6379',
    ],
    ['a list', list(), ' a, b ,,c', ['a', 'b', 'c']],
    ['a secret', secret({ minLength: 3 }), 'abc', 'abc'],
  ])('may be %s', (_what, setting, value, expected) => {
    expect(one(setting, value)).toEqual(expected);
  });

  it.each<[string, Setting<unknown>, string, string]>([
    ['no number', integer(), 'ten', "must be a whole number from 0 to 9007199254740991, got 'ten'"],
    ['half a number', integer(), '1.5', 'whole number'],
    ['a number in another form', integer(), '1e3', 'whole number'],
    ['a number in another base', integer(), '0x10', 'whole number'],
    ['too small', integer({ min: 1 }), '0', 'from 1'],
    ['too large', integer({ max: 5 }), '6', 'to 5'],
    ['no port', port(), '65536', 'to 65535'],
    ['no port, whatever else is said of it', port({ min: -1, max: 70_000 } as object), '65536', 'to 65535'],
    ['half a word', boolean(), 'n', "must be true or false, got 'n'"],
    ['neither true nor false', boolean(), 'maybe', "must be true or false, got 'maybe'"],
    ['a part of a word', choice(['INFO', 'DEBUG']), 'inf', "must be one of INFO, DEBUG, got 'inf'"],
    ['no such word', choice(['INFO', 'DEBUG']), 'WARN', "must be one of INFO, DEBUG, got 'WARN'"],
    ['no length of time', duration(), 'soon', 'duration'],
    ['no size', size(), '5 MB', 'size'],
    ['no URL', url(), 'a.example', 'http:// or https://'],
    ['another URL', url(), 'ftp://a.example', 'http:// or https://'],
    ['a URL with a password', url(), 'https://u:c4n4ry@a.example', 'credentials'],
    ['a URL with a password alone', url(), 'https://:c4n4ry@a.example', 'credentials'],
    ['a URL with a name alone', url(), 'https://c4n4ry@a.example', 'credentials'],
    ['another URL with a password', url(), 'ftp://u:c4n4ry@a.example', 'http:// or https://'],
    [
      'of another form',
      text({ pattern: /^[a-z]+$/, rule: 'must be small letters' }),
      'A1',
      "must be small letters, got 'A1'",
    ],
    ['a short secret', secret({ minLength: 40 }), 'c4n4ry', 'at least 40 characters'],
  ])('may not be %s', (_what, setting, value, said) => {
    const message = mistake({ NAME: setting }, { NAME: value });
    expect(message).toContain('"NAME"');
    expect(message).toContain(said);
    expect(message).not.toContain('c4n4ry');
  });

  it.each([undefined, '', '  ', '\t\n'])('that is %j is not set', (value) => {
    expect(one(text({ default: 'x' }), value)).toBe('x');
    expect(one(text({ optional: true }), value)).toBeUndefined();
    expect(one(duration({ default: '60s' }), value)).toBe(60_000);
    expect(mistake({ NAME: text() }, { NAME: value })).toContain('"NAME" must be set');
  });

  it('has the type that it is read as', () => {
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

  it('whose default is bad stops the start as well', () => {
    expect(() => duration({ default: 'soon' as Duration })).toThrow(OptionError);
    expect(() => duration({ default: `${Number.NaN}ms` })).toThrow(OptionError);
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

  it('is read alike each time, also by a pattern that keeps state', () => {
    const setting = text({ pattern: /^a+$/g });
    for (let i = 0; i < 3; i++) expect(one(setting, 'aaa')).toBe('aaa');
  });

  it('that is a secret is not shown by its setting either', () => {
    expect(secret().show('c4n4ry-key')).toBe('set');
  });

  it('may be judged by the guard that will use it', () => {
    const trust = checked(list({ default: [] }), (entries) => clientIp({ trust: entries }));
    expect(one(trust, 'loopback, 10.0.0.0/8')).toEqual(['loopback', '10.0.0.0/8']);
    expect(mistake({ NAME: trust }, { NAME: 'loopback,everywhere' })).toMatch(
      /"NAME" is not accepted: clientIp "trust" .*'everywhere'/,
    );
    // An empty list is for services that do without.
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

describe('readEnv', () => {
  it('tells of all mistakes together', () => {
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

  it('describes every variable without a secret', () => {
    const { describe: described } = readEnv(
      {
        INGEST_TOKEN: secret({ optional: true }),
        API_KEY: secret(),
        API_HOST: text({ default: '127.0.0.1' }),
        ORIGINS: list({ default: [] }),
        PROXIES: list({ default: [] }),
        PERIOD: duration({ default: '60s' }),
        SIZE: size({ default: '1mb' }),
        URL: url({ optional: true }),
      },
      { API_KEY: 'c4n4ry-key', ORIGINS: 'https://a.example,https://b.example' },
    );
    expect(described()).toEqual([
      { name: 'INGEST_TOKEN', value: 'not set', source: 'default' },
      { name: 'API_KEY', value: 'set', source: 'environment' },
      { name: 'API_HOST', value: '127.0.0.1', source: 'default' },
      { name: 'ORIGINS', value: 'https://a.example, https://b.example', source: 'environment' },
      { name: 'PROXIES', value: 'none', source: 'default' },
      { name: 'PERIOD', value: '60000 ms', source: 'default' },
      { name: 'SIZE', value: '1048576 bytes', source: 'default' },
      { name: 'URL', value: 'not set', source: 'default' },
    ]);
  });

  it('shows no secret, whatever it is and whatever else is wrong', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 6, unit: 'grapheme' }), fc.nat(60), (value, minLength) => {
        fc.pre(value.trim().length > 5);
        const settings = { KEY: secret({ minLength: minLength + 1 }), PORT: port() };
        expect(mistake(settings, { KEY: value, PORT: 'x' })).not.toContain(value.trim());
      }),
    );
  });
});

/** The variables that the five services' guides name, with the values that they show. */
const GUIDES: readonly (readonly [guide: string, settings: Settings, env: Readonly<Record<string, string>>])[] = [
  [
    'Point-E',
    { POINT_E_SECRET_KEY: secret(), RATE_LIMIT_PER_IP: integer({ min: 1 }), RATE_LIMIT_WINDOW: duration() },
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
      MAX_GPU_TIME_SECONDS: duration(),
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
      RATE_LIMIT_PERIOD_SECONDS: duration(),
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

it.each(GUIDES)('reads every variable of the %s guide as the guide shows it', (_guide, settings, env) => {
  expect(Object.keys(readEnv(settings, env).values)).toEqual(Object.keys(settings));
  expect(Object.keys(env)).toEqual(Object.keys(settings));
});
