import { randomBytes } from 'node:crypto';
import { apiKeys, cors, trustedHosts } from 'gatewarden';
import {
  boolean,
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
} from 'gatewarden/env';
import { requireSecrets, type Variables } from '../exposure.js';
import { trustedProxies } from '../trusted-proxies.js';

export interface Settings {
  readonly apiKeys: readonly string[];
  /** Whether the key was generated for this run. */
  readonly keyIsGenerated: boolean;
  readonly corsOrigins: readonly string[];
  readonly trustedHosts: readonly string[];
  readonly trustedProxies: readonly string[];
  readonly rateLimit: { readonly enabled: boolean; readonly requests: number; readonly period: Duration };
  readonly debug: boolean;
  readonly host: string;
  readonly port: number;
  readonly described: readonly DescribedSetting[];
}

const splitKeys = (keys: string) => keys.split(',').map((key) => key.trim());

/**
 * Reads the server's settings. Without `API_KEY` a key is generated, to try the server on this machine only.
 * @throws OptionError that lists all mistakes
 */
export function readSettings(environment: Variables): Settings {
  const { values, describe } = readEnv(
    {
      API_KEY: checked(secret({ optional: true, minLength: 16 }), (keys) => keys && apiKeys({ keys: splitKeys(keys) })),
      CORS_ORIGINS: checked(list({ default: ['http://localhost:3000'] }), (origin) => cors({ origin })),
      TRUSTED_HOSTS: checked(list({ default: ['localhost', '127.0.0.1', '[::1]'] }), (hosts) =>
        trustedHosts({ hosts }),
      ),
      TRUSTED_PROXIES: trustedProxies(),
      RATE_LIMIT_ENABLED: boolean({ default: true }),
      RATE_LIMIT_REQUESTS: integer({ min: 1, max: 1_000_000, default: 100 }),
      RATE_LIMIT_PERIOD_SECONDS: duration({ default: '60s', bare: 's' }),
      DEBUG: boolean({ default: false }),
      HOST: text({ default: '127.0.0.1' }),
      PORT: port({ default: 8000 }),
    },
    environment,
  );
  requireSecrets({ API_KEY: values.API_KEY }, values.HOST, environment);
  return {
    apiKeys: values.API_KEY === undefined ? [`sk-test-${randomBytes(16).toString('hex')}`] : splitKeys(values.API_KEY),
    keyIsGenerated: values.API_KEY === undefined,
    corsOrigins: values.CORS_ORIGINS,
    trustedHosts: values.TRUSTED_HOSTS,
    trustedProxies: values.TRUSTED_PROXIES,
    rateLimit: {
      enabled: values.RATE_LIMIT_ENABLED,
      requests: values.RATE_LIMIT_REQUESTS,
      period: values.RATE_LIMIT_PERIOD_SECONDS,
    },
    debug: values.DEBUG,
    host: values.HOST,
    port: values.PORT,
    described: describe(),
  };
}
