import { type ApiKeyRecord, adminApiKey, apiKeyRecord, apiKeys, OptionError, trustedHosts } from 'gatewarden';
import {
  checked,
  choice,
  type DescribedSetting,
  type Duration,
  duration,
  integer,
  list,
  port,
  readEnv,
  type Setting,
  secret,
  text,
} from 'gatewarden/env';
import { baseUrl } from '../base-url.js';
import { redisUrl } from '../counters.js';
import { hostsOf, isLoopback, isProduction, type Variables } from '../exposure.js';
import { type GpuSettings, gpuVariables } from '../gpu.js';
import { LEVELS, type Level } from '../text-logger.js';
import { trustedProxies } from '../trusted-proxies.js';

/**
 * How regular endpoints are protected: by the keys of `API_KEY`, by nothing while the service is being developed, or
 * closed, because a service in production has no keys.
 */
export type Access = 'keys' | 'development' | 'closed';

export interface Settings extends GpuSettings {
  readonly access: Access;
  /** Empty unless `access` is `keys`. */
  readonly clients: readonly ApiKeyRecord[];
  readonly admins: readonly ApiKeyRecord[];
  readonly perMinute: number;
  readonly perHour: number;
  /** How many jobs of one client may wait and run. */
  readonly maxJobsPerClient: number;
  /** How long the worker may take for one image. */
  readonly maxGpuTime: Duration;
  /** How long a job, its owner and its files are kept after its end. */
  readonly jobLifetime: Duration;
  /** Where images and models are kept. If undefined, in a temporary directory of this process. */
  readonly dataDirectory: string | undefined;
  /** The Redis that keeps jobs and counts requests of all processes. If undefined, this process does. It may hold a password. */
  readonly redisUrl: string | undefined;
  readonly logLevel: Level;
  readonly trustedProxies: readonly string[];
  /** The hosts that the service serves. If empty, any. */
  readonly trustedHosts: readonly string[];
  readonly workerUrl: string | undefined;
  readonly host: string;
  readonly port: number;
  readonly described: readonly DescribedSetting[];
  /** The variables that these settings were read from. */
  readonly environment: Variables;
}

/** What `Authorization: Bearer` can carry (RFC 6750 section 2.1). */
const BEARER = /^[A-Za-z0-9._~+/-]+=*$/;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** Clients of the service itself. */
const RESERVED = ['admin', 'development'];

/** @throws OptionError that lists all mistakes, and shows no key */
export function readSettings(environment: Variables): Settings {
  const { values, describe } = readEnv(
    {
      API_KEY: keyList(readClients),
      ADMIN_API_KEY: keyList(readAdmins),
      // Only whether it says production counts: see `isProduction`.
      ENVIRONMENT: text({ default: 'development' }),
      RATE_LIMIT_PER_MINUTE: integer({ min: 1, max: 1_000_000, default: 60 }),
      RATE_LIMIT_PER_HOUR: integer({ min: 1, max: 1_000_000, default: 1000 }),
      MAX_JOBS_PER_CLIENT: integer({ min: 1, max: 1000, default: 10 }),
      // Node's `fetch` waits at most 300 seconds for a response.
      MAX_GPU_TIME_SECONDS: integer({ min: 1, max: 300, default: 300 }),
      ...gpuVariables,
      JOB_LIFETIME: duration({ default: '24h' }),
      DATA_DIRECTORY: text({ optional: true }),
      REDIS_URL: redisUrl(),
      LOG_LEVEL: choice(LEVELS, { default: 'INFO' }),
      TRUSTED_PROXIES: trustedProxies(),
      TRUSTED_HOSTS: checked(list({ default: [] }), (hosts) => trustedHosts({ hosts })),
      WORKER_URL: baseUrl(),
      HOST: text({ default: '127.0.0.1' }),
      PORT: port({ default: 8000 }),
    },
    environment,
  );
  const { API_KEY: clients = [], ADMIN_API_KEY: admins = [] } = values;
  const access: Access = clients.length > 0 ? 'keys' : isProduction(environment) ? 'closed' : 'development';
  if (access === 'development' && !isLoopback(values.HOST)) {
    throw new OptionError('gatewarden: bad settings: "API_KEY" must be set if HOST is not loopback');
  }
  checkTogether(clients, admins);
  return {
    access,
    clients,
    admins,
    perMinute: values.RATE_LIMIT_PER_MINUTE,
    perHour: values.RATE_LIMIT_PER_HOUR,
    maxJobsPerClient: values.MAX_JOBS_PER_CLIENT,
    maxGpuTime: `${values.MAX_GPU_TIME_SECONDS}s`,
    gpuSlots: values.GPU_SLOTS,
    gpuSecondsPerDay: values.GPU_SECONDS_PER_DAY,
    jobLifetime: values.JOB_LIFETIME,
    dataDirectory: values.DATA_DIRECTORY,
    redisUrl: values.REDIS_URL,
    logLevel: values.LOG_LEVEL,
    trustedProxies: values.TRUSTED_PROXIES,
    trustedHosts: hostsOf(values.TRUSTED_HOSTS, values.HOST),
    workerUrl: values.WORKER_URL,
    host: values.HOST,
    port: values.PORT,
    described: describe(),
    environment,
  };
}

/** A list of keys, separated by commas, read as a secret. */
function keyList(read: (variable: string, items: readonly string[]) => readonly ApiKeyRecord[]) {
  const setting: Setting<readonly ApiKeyRecord[] | undefined> = {
    isSecret: secret().isSecret,
    fallback: { value: undefined, text: 'not set' },
    read: (variable, value) => {
      const items = value
        .split(',')
        .map((item) => item.trim())
        .filter((item) => item !== '');
      try {
        return read(variable, items);
      } catch (error) {
        if (!(error instanceof OptionError) || error.message.includes(variable)) throw error;
        // An error of `apiKeyRecord` shows no key, but does not know the variable.
        const reason = error.message.replace('gatewarden: ', '');
        throw new OptionError(`gatewarden: the environment "${variable}" is not accepted: ${reason}`);
      }
    },
  };
  return setting;
}

/** `name:key` items, or one key without a name. A name may appear twice, while its client changes from one key to another. */
function readClients(variable: string, items: readonly string[]): readonly ApiKeyRecord[] {
  const keysOf = new Map<string, number>();
  return items.map((item, i) => {
    const colon = item.indexOf(':');
    const isAlone = colon < 0 && items.length === 1;
    const [name, key] = isAlone ? ['default', item] : [item.slice(0, Math.max(colon, 0)), item.slice(colon + 1)];
    if (!NAME.test(name) || !BEARER.test(key)) throw bad(variable, i, 'must be name:key, or the only item and a key');
    if (RESERVED.includes(name)) throw bad(variable, i, `must not be named ${name}`);
    const nth = (keysOf.get(name) ?? 0) + 1;
    keysOf.set(name, nth);
    return apiKeyRecord(key, { clientId: name, id: `${name}/${nth}` });
  });
}

/** The keys of the administrator: one, or two while the second replaces the first. */
function readAdmins(variable: string, items: readonly string[]): readonly ApiKeyRecord[] {
  return items.map((key, i) => {
    if (!BEARER.test(key)) throw bad(variable, i, 'must have only letters, digits and -._~+/');
    return adminApiKey(key, { id: `admin/${i + 1}` });
  });
}

/** Never shows the item, which contains a key. */
function bad(variable: string, i: number, rule: string): OptionError {
  return new OptionError(`gatewarden: the environment "${variable}" item ${i + 1} ${rule}`);
}

/** @throws OptionError if a key is in both variables, or in one of them twice */
function checkTogether(clients: readonly ApiKeyRecord[], admins: readonly ApiKeyRecord[]): void {
  if (clients.length + admins.length === 0) return;
  try {
    apiKeys({ keys: [...clients, ...admins] });
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    // An error of `apiKeys` shows no key.
    const reason = error.message.replace('gatewarden: ', '');
    throw new OptionError(
      `gatewarden: bad settings: "API_KEY" and "ADMIN_API_KEY" are not accepted together: ${reason}`,
    );
  }
}
