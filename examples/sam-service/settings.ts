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
  /** A key that was made up for this run. */
  readonly madeUpKey: string | undefined;
  readonly jwtSecret: string;
  /** Who may fetch a token: names with their passwords. */
  readonly users: ReadonlyMap<string, string>;
  readonly allowAnonymous: boolean;
  /** Requests an hour. */
  readonly defaultRateLimit: number;
  readonly authenticatedRateLimit: number;
  /** Where requests are counted, for all processes; undefined: in this process. It may hold a password. */
  readonly redisUrl: string | undefined;
  readonly maxFileBytes: number;
  /** How long the worker may take for one request. */
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

/** @throws OptionError that tells of all mistakes together */
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
      MAX_FILE_SIZE_MB: size({ unit: 'mb', default: '50mb' }),
      // For longer than 300 seconds Node's own fetch does not wait for an answer.
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
  const open = !LOOPBACK.includes(values.HOST) || environment.NODE_ENV === 'production';
  const missing = (['API_KEYS', 'JWT_SECRET'] as const).filter((name) => open && values[name] === undefined);
  if (missing.length > 0) {
    const lines = missing.map((name) => `\n  "${name}" must be set where others can call, and in production`);
    throw new OptionError(`gatewarden: bad settings:${lines.join('')}`);
  }
  const madeUpKey = values.API_KEYS === undefined ? `sam-${randomBytes(16).toString('hex')}` : undefined;
  const admin = values.ADMIN_API_KEY === undefined ? [] : [adminApiKey(values.ADMIN_API_KEY)];
  return {
    apiKeys: [...parseApiKeys(values.API_KEYS ?? `${madeUpKey}:local:${values.AUTHENTICATED_RATE_LIMIT}`), ...admin],
    madeUpKey,
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

/** A secret, where `url` would allow no password; but a message that tells what it must be. */
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

/** `name:password`, parted by commas. */
function usersOf(setting: string): ReadonlyMap<string, string> {
  const users = new Map<string, string>();
  for (const item of setting.split(',').filter((user) => user.trim() !== '')) {
    const colon = item.indexOf(':');
    const [name, password] = [item.slice(0, colon).trim(), item.slice(colon + 1).trim()];
    if (colon < 1 || name === '' || password === '') {
      throw new OptionError('gatewarden: bad settings:\n  "AUTH_USERS" must hold name:password, parted by commas');
    }
    users.set(name, password);
  }
  return users;
}
