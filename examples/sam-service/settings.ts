import { randomBytes } from 'node:crypto';
import { type ApiKeyRecord, adminApiKey, apiKeys, OptionError, parseApiKeys, trustedHosts } from 'gatewarden';
import {
  boolean,
  checked,
  choice,
  type DescribedSetting,
  type Duration,
  integer,
  list,
  port,
  readEnv,
  type Setting,
  secret,
  size,
  text,
} from 'gatewarden/env';
import { jwtIssuer } from 'gatewarden/jwt';
import { baseUrl } from '../base-url.js';
import { dataDirectory, redisUrl } from '../counters.js';
import { hostsOf, requireSecrets, type Variables } from '../exposure.js';
import { type GpuSettings, gpuVariables } from '../gpu.js';
import { developmentKey } from '../operator-desk.js';
import { LEVELS, type Level } from '../text-logger.js';
import { trustedProxies } from '../trusted-proxies.js';
import { type WaitingSettings, waitingVariables } from '../waiting.js';

export interface Settings extends GpuSettings, WaitingSettings {
  readonly apiKeys: readonly ApiKeyRecord[];
  /** The key that was generated for this run, if any. */
  readonly generatedKey: string | undefined;
  /** The key of the operator page: that of the admin, or one for this run. If undefined, there is no page. */
  readonly deskKey: string | undefined;
  /** Whether the key of the page was generated for this run. */
  readonly deskKeyIsGenerated: boolean;
  readonly jwtSecret: string;
  /** The users that may request a token: names with their passwords. */
  readonly users: ReadonlyMap<string, string>;
  readonly allowAnonymous: boolean;
  /** Requests an hour. */
  readonly defaultRateLimit: number;
  readonly authenticatedRateLimit: number;
  /** The Redis that counts requests of all processes. If undefined, this process counts its own. It may hold a password. */
  readonly redisUrl: string | undefined;
  /** Where this process keeps its counts without Redis. If undefined, or `:memory:`, a restart forgets them. */
  readonly dataDirectory: string | undefined;
  readonly maxFileBytes: number;
  /** How long the worker may take for one request. */
  readonly maxGpuTime: Duration;
  readonly usageTracking: boolean;
  readonly logLevel: Level;
  readonly trustedProxies: readonly string[];
  /** The hosts that the service serves. If empty, any. */
  readonly trustedHosts: readonly string[];
  readonly workerUrl: string | undefined;
  readonly host: string;
  readonly port: number;
  readonly described: readonly DescribedSetting[];
}

/** @throws OptionError that lists all mistakes */
export function readSettings(environment: Variables): Settings {
  const { values, describe } = readEnv(
    {
      API_KEYS: checked(secret({ optional: true }), (keys) => keys && parseApiKeys(keys)),
      ADMIN_API_KEY: checked(secret({ optional: true }), (key) => key && adminApiKey(key)),
      JWT_SECRET: checked(
        secret({ optional: true, minLength: 32 }),
        (key) => key && jwtIssuer({ algorithm: 'HS256', key, expiresIn: '24h' }),
      ),
      AUTH_USERS: users(),
      ALLOW_ANONYMOUS: boolean({ default: false }),
      DEFAULT_RATE_LIMIT: integer({ min: 1, max: 1_000_000, default: 10 }),
      AUTHENTICATED_RATE_LIMIT: integer({ min: 1, max: 1_000_000, default: 100 }),
      REDIS_URL: redisUrl(),
      DATA_DIRECTORY: dataDirectory(),
      MAX_FILE_SIZE_MB: size({ bare: 'mb', default: '50mb' }),
      // Node's `fetch` waits at most 300 seconds for a response.
      MAX_GPU_TIME_SECONDS: integer({ min: 1, max: 300, default: 300 }),
      ...gpuVariables,
      ...waitingVariables,
      ENABLE_USAGE_TRACKING: boolean({ default: true }),
      LOG_LEVEL: choice(LEVELS, { default: 'INFO' }),
      TRUSTED_PROXIES: trustedProxies(),
      TRUSTED_HOSTS: checked(list({ default: [] }), (hosts) => trustedHosts({ hosts })),
      WORKER_URL: baseUrl(),
      HOST: text({ default: '127.0.0.1' }),
      PORT: port({ default: 5000 }),
    },
    environment,
  );
  requireSecrets({ API_KEYS: values.API_KEYS, JWT_SECRET: values.JWT_SECRET }, values.HOST, environment);
  const generatedKey = values.API_KEYS === undefined ? `sam-${randomBytes(16).toString('hex')}` : undefined;
  const clients = parseApiKeys(values.API_KEYS ?? `${generatedKey}:local:${values.AUTHENTICATED_RATE_LIMIT}`);
  return {
    apiKeys: values.ADMIN_API_KEY === undefined ? clients : withAdmin(clients, values.ADMIN_API_KEY),
    generatedKey,
    deskKey: values.ADMIN_API_KEY ?? developmentKey(values.HOST, environment),
    deskKeyIsGenerated: values.ADMIN_API_KEY === undefined,
    jwtSecret: values.JWT_SECRET ?? randomBytes(32).toString('hex'),
    users: values.AUTH_USERS ?? new Map(),
    allowAnonymous: values.ALLOW_ANONYMOUS,
    defaultRateLimit: values.DEFAULT_RATE_LIMIT,
    authenticatedRateLimit: values.AUTHENTICATED_RATE_LIMIT,
    redisUrl: values.REDIS_URL,
    dataDirectory: values.DATA_DIRECTORY,
    maxFileBytes: values.MAX_FILE_SIZE_MB,
    maxGpuTime: `${values.MAX_GPU_TIME_SECONDS}s`,
    gpuSlots: values.GPU_SLOTS,
    gpuSecondsPerDay: values.GPU_SECONDS_PER_DAY,
    maxWait: values.MAX_WAIT_SECONDS,
    maxWaiting: values.MAX_WAITING,
    usageTracking: values.ENABLE_USAGE_TRACKING,
    logLevel: values.LOG_LEVEL,
    trustedProxies: values.TRUSTED_PROXIES,
    trustedHosts: hostsOf(values.TRUSTED_HOSTS, values.HOST),
    workerUrl: values.WORKER_URL,
    host: values.HOST,
    port: values.PORT,
    described: describe(),
  };
}

/** @throws OptionError if the admin's key, or the client `admin`, is in the list already */
function withAdmin(clients: readonly ApiKeyRecord[], key: string): readonly ApiKeyRecord[] {
  const keys = [...clients, adminApiKey(key)];
  try {
    apiKeys({ keys });
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    // An error of `apiKeys` shows no key.
    const reason = error.message.replace('gatewarden: ', '');
    throw new OptionError(`gatewarden: bad settings: "ADMIN_API_KEY" is not accepted next to "API_KEYS": ${reason}`);
  }
  return keys;
}

/** Reads `name:password` pairs, separated by commas, as a secret. Unlike `checked`, an error states the rule. */
function users(): Setting<ReadonlyMap<string, string> | undefined> {
  const { isSecret } = secret();
  return { isSecret, fallback: { value: undefined, text: 'not set' }, read: readUsers };
}

function readUsers(variable: string, text: string): ReadonlyMap<string, string> {
  const passwords = new Map<string, string>();
  for (const item of text.split(',').filter((user) => user.trim() !== '')) {
    const colon = item.indexOf(':');
    const [name, password] = [item.slice(0, colon).trim(), item.slice(colon + 1).trim()];
    if (colon < 1 || name === '' || password === '') {
      throw new OptionError(
        `gatewarden: the environment "${variable}" must be name:password pairs, separated by commas`,
      );
    }
    passwords.set(name, password);
  }
  return passwords;
}
