import { randomBytes } from 'node:crypto';
import { type ApiKeyRecord, adminApiKey, clientIp, OptionError, parseApiKeys } from 'gatewarden';
import {
  boolean,
  checked,
  choice,
  type DescribedSetting,
  integer,
  list,
  port,
  readEnv,
  type Setting,
  secret,
  size,
  text,
  url,
} from 'gatewarden/env';
import { jwtIssuer } from 'gatewarden/jwt';
import { LEVELS, type Level } from '../text-logger.js';

export interface Settings {
  readonly apiKeys: readonly ApiKeyRecord[];
  /** The key that was generated for this run, if any. */
  readonly generatedKey: string | undefined;
  readonly jwtSecret: string;
  /** The users that may request a token: names with their passwords. */
  readonly users: ReadonlyMap<string, string>;
  readonly allowAnonymous: boolean;
  /** Requests an hour. */
  readonly defaultRateLimit: number;
  readonly authenticatedRateLimit: number;
  /** The Redis that counts requests of all processes. If undefined, this process counts its own. It may hold a password. */
  readonly redisUrl: string | undefined;
  readonly maxFileBytes: number;
  /** How long the worker may take for one request, in milliseconds. */
  readonly maxGpuMs: number;
  readonly usageTracking: boolean;
  readonly logLevel: Level;
  readonly trustedProxies: readonly string[];
  readonly workerUrl: string | undefined;
  readonly host: string;
  readonly port: number;
  readonly described: readonly DescribedSetting[];
}

const LOOPBACK = ['127.0.0.1', '::1', 'localhost'];

/** @throws OptionError that lists all mistakes */
export function readSettings(environment: Readonly<Record<string, string | undefined>>): Settings {
  const { values, describe } = readEnv(
    {
      API_KEYS: checked(secret({ optional: true }), (keys) => keys && parseApiKeys(keys)),
      ADMIN_API_KEY: checked(secret({ optional: true }), (key) => key && adminApiKey(key)),
      JWT_SECRET: checked(
        secret({ optional: true, minLength: 32 }),
        (key) => key && jwtIssuer({ algorithm: 'HS256', key, expiresIn: '24h' }),
      ),
      AUTH_USERS: secret({ optional: true }),
      ALLOW_ANONYMOUS: boolean({ default: false }),
      DEFAULT_RATE_LIMIT: integer({ min: 1, max: 1_000_000, default: 10 }),
      AUTHENTICATED_RATE_LIMIT: integer({ min: 1, max: 1_000_000, default: 100 }),
      REDIS_URL: redisUrl(),
      MAX_FILE_SIZE_MB: size({ bare: 'mb', default: '50mb' }),
      // Node's `fetch` waits at most 300 seconds for a response.
      MAX_GPU_TIME_SECONDS: integer({ min: 1, max: 300, default: 300 }),
      ENABLE_USAGE_TRACKING: boolean({ default: true }),
      LOG_LEVEL: choice(LEVELS, { default: 'INFO' }),
      TRUSTED_PROXIES: checked(list({ default: [] }), (trust) => clientIp({ trust })),
      WORKER_URL: url({ optional: true }),
      HOST: text({ default: '127.0.0.1' }),
      PORT: port({ default: 5000 }),
    },
    environment,
  );
  const isExposed = !LOOPBACK.includes(values.HOST) || environment.NODE_ENV === 'production';
  const missing = (['API_KEYS', 'JWT_SECRET'] as const).filter((name) => isExposed && values[name] === undefined);
  if (missing.length > 0) {
    const lines = missing.map((name) => `\n  "${name}" must be set if HOST is not loopback, and in production`);
    throw new OptionError(`gatewarden: bad settings:${lines.join('')}`);
  }
  const generatedKey = values.API_KEYS === undefined ? `sam-${randomBytes(16).toString('hex')}` : undefined;
  const admin = values.ADMIN_API_KEY === undefined ? [] : [adminApiKey(values.ADMIN_API_KEY)];
  return {
    apiKeys: [...parseApiKeys(values.API_KEYS ?? `${generatedKey}:local:${values.AUTHENTICATED_RATE_LIMIT}`), ...admin],
    generatedKey,
    jwtSecret: values.JWT_SECRET ?? randomBytes(32).toString('hex'),
    users: usersOf(values.AUTH_USERS ?? ''),
    allowAnonymous: values.ALLOW_ANONYMOUS,
    defaultRateLimit: values.DEFAULT_RATE_LIMIT,
    authenticatedRateLimit: values.AUTHENTICATED_RATE_LIMIT,
    redisUrl: values.REDIS_URL,
    maxFileBytes: values.MAX_FILE_SIZE_MB,
    maxGpuMs: values.MAX_GPU_TIME_SECONDS * 1000,
    usageTracking: values.ENABLE_USAGE_TRACKING,
    logLevel: values.LOG_LEVEL,
    trustedProxies: values.TRUSTED_PROXIES,
    workerUrl: values.WORKER_URL,
    host: values.HOST,
    port: values.PORT,
    described: describe(),
  };
}

/** Reads the URL as a secret, because `url` accepts no password. Unlike `checked`, an error states the rule. */
function redisUrl(): Setting<string | undefined> {
  return {
    ...secret({ optional: true }),
    read(name, value) {
      if (URL.canParse(value) && ['redis:', 'rediss:'].includes(new URL(value).protocol)) return value;
      throw new OptionError(
        `gatewarden: the environment "${name}" must be a URL that begins with redis:// or rediss://`,
      );
    },
  };
}

/** Reads `name:password` pairs, separated by commas. */
function usersOf(setting: string): ReadonlyMap<string, string> {
  const users = new Map<string, string>();
  for (const item of setting.split(',').filter((user) => user.trim() !== '')) {
    const colon = item.indexOf(':');
    const [name, password] = [item.slice(0, colon).trim(), item.slice(colon + 1).trim()];
    if (colon < 1 || name === '' || password === '') {
      throw new OptionError('gatewarden: bad settings: "AUTH_USERS" must be name:password pairs, separated by commas');
    }
    users.set(name, password);
  }
  return users;
}
