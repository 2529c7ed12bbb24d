import { fileURLToPath } from 'node:url';
import { cors, ingestToken, OptionError, trustedHosts } from 'gatewarden';
import { checked, type DescribedSetting, integer, list, port, readEnv, secret, text } from 'gatewarden/env';
import { hostsOf, isLoopback, isProduction, type Variables } from '../exposure.js';
import { trustedProxies } from '../trusted-proxies.js';

export interface Settings {
  /** If empty, ingesting needs no token. */
  readonly ingestTokens: readonly string[];
  /** Requests a minute from one address. */
  readonly ingestRateLimit: number;
  readonly corsOrigins: readonly string[];
  readonly trustedProxies: readonly string[];
  /** The hosts that the server serves. If empty, any. */
  readonly trustedHosts: readonly string[];
  readonly host: string;
  readonly port: number;
  readonly dataFile: string;
  /** The settings as the start script shows them. */
  readonly described: readonly DescribedSetting[];
}

const DATA_FILE = fileURLToPath(new URL('live-streams.jsonl', import.meta.url));
const splitTokens = (tokens: string) => tokens.split(',').map((token) => token.trim());

/** @throws OptionError that lists all mistakes */
export function readSettings(environment: Variables): Settings {
  const { values, describe } = readEnv(
    {
      INGEST_TOKEN: checked(
        secret({ optional: true }),
        (tokens) => tokens && ingestToken({ tokens: splitTokens(tokens) }),
      ),
      // These take precedence over HOST and PORT, which may belong to another program.
      API_HOST: text({ optional: true }),
      API_PORT: port({ optional: true }),
      HOST: text({ default: '127.0.0.1' }),
      PORT: port({ default: 8000 }),
      INGEST_RATE_LIMIT: integer({ min: 1, max: 1_000_000, default: 60 }),
      API_CORS_ORIGINS: checked(list({ default: ['http://localhost:5173'] }), (origin) => cors({ origin })),
      TRUSTED_PROXIES: trustedProxies(),
      TRUSTED_HOSTS: checked(list({ default: [] }), (hosts) => trustedHosts({ hosts })),
      DATA_FILE: text({ default: DATA_FILE }),
    },
    environment,
  );
  const host = values.API_HOST ?? values.HOST;
  if (!isLoopback(host) && isProduction(environment) && values.INGEST_TOKEN === undefined) {
    throw new OptionError(
      'gatewarden: bad settings: "INGEST_TOKEN" must be set in production if API_HOST is not loopback',
    );
  }
  return {
    ingestTokens: values.INGEST_TOKEN === undefined ? [] : splitTokens(values.INGEST_TOKEN),
    ingestRateLimit: values.INGEST_RATE_LIMIT,
    corsOrigins: values.API_CORS_ORIGINS,
    trustedProxies: values.TRUSTED_PROXIES,
    trustedHosts: hostsOf(values.TRUSTED_HOSTS, host),
    host,
    port: values.API_PORT ?? values.PORT,
    dataFile: values.DATA_FILE,
    described: describe(),
  };
}
