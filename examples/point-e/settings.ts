import { randomBytes } from 'node:crypto';
import { OptionError, sharedSecret, trustedHosts } from 'gatewarden';
import {
  checked,
  type DescribedSetting,
  type Duration,
  duration,
  integer,
  list,
  port,
  readEnv,
  secret,
  text,
  toMilliseconds,
} from 'gatewarden/env';
import { baseUrl } from '../base-url.js';
import { dataDirectory, redisUrl } from '../counters.js';
import { hostsOf, requireSecrets, type Variables } from '../exposure.js';
import { type GpuSettings, gpuVariables } from '../gpu.js';
import { developmentKey, operatorKey } from '../operator-desk.js';
import { trustedProxies } from '../trusted-proxies.js';
import { type WaitingSettings, waitingVariables } from '../waiting.js';

export interface Settings extends GpuSettings, WaitingSettings {
  /** The current secret of the main server, then the previous one during a rotation. */
  readonly secrets: readonly string[];
  /** Whether the secret was generated for this run. */
  readonly secretIsGenerated: boolean;
  /** The key of the operator page. If undefined, there is no page. */
  readonly operatorKey: string | undefined;
  readonly operatorKeyIsGenerated: boolean;
  readonly limitPerIp: number;
  /** How long a generation counts. With 24 hours, the count resets at midnight UTC instead. */
  readonly window: Duration;
  /** How long the worker may take for one generation. */
  readonly maxGpuTime: Duration;
  /** The Redis that counts generations of all processes. If undefined, this process counts its own. It may hold a password. */
  readonly redisUrl: string | undefined;
  /** Where this process keeps its counts without Redis. If undefined, or `:memory:`, a restart forgets them. */
  readonly dataDirectory: string | undefined;
  readonly trustedProxies: readonly string[];
  /** The hosts that the gateway serves. If empty, any. */
  readonly trustedHosts: readonly string[];
  /** The origin at which clients reach the gateway. By default the one that their request names. */
  readonly publicUrl: string | undefined;
  /** If undefined, the stand-in is started. */
  readonly workerUrl: string | undefined;
  readonly host: string;
  readonly port: number;
  readonly described: readonly DescribedSetting[];
}

/**
 * Reads the gateway's settings. Without `POINT_E_SECRET_KEY` a secret is generated, to try the gateway on this machine only.
 * @throws OptionError that lists the mistakes, and shows no secret
 */
export function readSettings(environment: Variables): Settings {
  const { values, describe } = readEnv(
    {
      POINT_E_SECRET_KEY: mainServerSecret(),
      POINT_E_PREVIOUS_SECRET_KEY: mainServerSecret(),
      OPERATOR_KEY: operatorKey(),
      RATE_LIMIT_PER_IP: integer({ min: 1, max: 1_000_000, default: 5 }),
      RATE_LIMIT_WINDOW: checked(duration({ bare: 's', default: '24h' }), checkWindow),
      // Node's `fetch` waits at most 300 seconds for a response.
      MAX_GPU_TIME_SECONDS: integer({ min: 1, max: 300, default: 120 }),
      ...gpuVariables,
      ...waitingVariables,
      REDIS_URL: redisUrl(),
      DATA_DIRECTORY: dataDirectory(),
      TRUSTED_PROXIES: trustedProxies(),
      TRUSTED_HOSTS: checked(list({ default: [] }), (hosts) => trustedHosts({ hosts })),
      PUBLIC_URL: baseUrl(),
      WORKER_URL: baseUrl(),
      HOST: text({ default: '127.0.0.1' }),
      PORT: port({ default: 8080 }),
    },
    environment,
  );
  const { POINT_E_SECRET_KEY: current, POINT_E_PREVIOUS_SECRET_KEY: previous } = values;
  requireSecrets({ POINT_E_SECRET_KEY: current }, values.HOST, environment);
  if (current !== undefined && current === previous) {
    throw new OptionError(
      'gatewarden: bad settings: "POINT_E_PREVIOUS_SECRET_KEY" must differ from POINT_E_SECRET_KEY',
    );
  }
  return {
    secrets: [current ?? randomBytes(32).toString('hex'), ...(previous === undefined ? [] : [previous])],
    secretIsGenerated: current === undefined,
    operatorKey: values.OPERATOR_KEY ?? developmentKey(values.HOST, environment),
    operatorKeyIsGenerated: values.OPERATOR_KEY === undefined,
    limitPerIp: values.RATE_LIMIT_PER_IP,
    window: values.RATE_LIMIT_WINDOW,
    maxGpuTime: `${values.MAX_GPU_TIME_SECONDS}s`,
    gpuSlots: values.GPU_SLOTS,
    gpuSecondsPerDay: values.GPU_SECONDS_PER_DAY,
    maxWait: values.MAX_WAIT_SECONDS,
    maxWaiting: values.MAX_WAITING,
    redisUrl: values.REDIS_URL,
    dataDirectory: values.DATA_DIRECTORY,
    trustedProxies: values.TRUSTED_PROXIES,
    trustedHosts: hostsOf(values.TRUSTED_HOSTS, values.HOST),
    publicUrl: values.PUBLIC_URL,
    workerUrl: values.WORKER_URL,
    host: values.HOST,
    port: values.PORT,
    described: describe(),
  };
}

function mainServerSecret() {
  return checked(secret({ optional: true }), (value) => sharedSecret({ secrets: [value] }));
}

function checkWindow(window: Duration): void {
  const time = toMilliseconds(window);
  if (time < 1000 || time > toMilliseconds('365d') || time % 1000 !== 0) {
    throw new OptionError('gatewarden: it must be whole seconds from 1s to 365d');
  }
}

/** The guide's window of a day is a quota that resets at midnight UTC. Any other window slides. */
export function isOneDay(window: Duration): boolean {
  return toMilliseconds(window) === toMilliseconds('24h');
}
