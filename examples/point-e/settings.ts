import { randomBytes } from 'node:crypto';
import { clientIp, OptionError, sharedSecret } from 'gatewarden';
import { type Duration, toMilliseconds } from 'gatewarden/env';
import { z } from 'zod';

export interface Settings {
  /** The current secret of the main server, then the previous one during a rotation. */
  readonly secrets: readonly string[];
  /** Whether the secret was generated for this run. */
  readonly secretIsGenerated: boolean;
  readonly limitPerIp: number;
  /** How long a generation counts. With 24 hours, the count resets at midnight UTC instead. */
  readonly window: Duration;
  readonly host: string;
  readonly port: number;
  /** If undefined, the stand-in is started. */
  readonly workerUrl: string | undefined;
  readonly trustedProxies: readonly string[];
  /** The origin at which clients reach the gateway. By default the one that their request names. */
  readonly publicUrl: string | undefined;
}

/** Lists every bad setting by its name, and shows no value. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
}

const LOOPBACK = ['127.0.0.1', '::1', 'localhost'];

const integer = (min: number, max: number, fallback: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, `must be an integer from ${min} to ${max}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be an integer from ${min} to ${max}`)
    .default(fallback);

/** A length of time of whole seconds: a bare number of seconds, as in the guide, or a duration such as `24h`. */
const seconds = (max: Duration, fallback: Duration) =>
  z
    .string()
    .transform((text) => (/^\d{1,9}$/.test(text) ? `${text}s` : text))
    .refine(
      (text): text is Duration => isWholeSeconds(text, max),
      `must be whole seconds from 1s to ${max}, such as '3600' or '24h'`,
    )
    .default(fallback);

function isWholeSeconds(text: string, max: Duration): text is Duration {
  try {
    const time = toMilliseconds(text as Duration);
    return time >= 1000 && time <= toMilliseconds(max) && time % 1000 === 0;
  } catch (error) {
    if (error instanceof OptionError) return false;
    throw error;
  }
}

const httpUrl = z
  .url({ protocol: /^https?$/, error: 'must be an http or https URL' })
  .refine((url) => /^[^@?#]*$/.test(url), 'must have no credentials, query or fragment')
  .transform((url) => url.replace(/\/+$/, ''))
  .optional();

const secret = z.string().superRefine((value, context) => {
  checkWith(context, () => sharedSecret({ secrets: [value] }), 'must be at least 32 letters, digits or -._~+/');
});

const list = z
  .string()
  .default('')
  .transform((text) => text.split(',').map((item) => item.trim()))
  .transform((items) => items.filter((item) => item !== ''));

const Environment = z.object({
  POINT_E_SECRET_KEY: secret.optional(),
  POINT_E_PREVIOUS_SECRET_KEY: secret.optional(),
  RATE_LIMIT_PER_IP: integer(1, 1_000_000, 5),
  RATE_LIMIT_WINDOW: seconds('365d', '24h'),
  HOST: z.string().min(1, 'must not be empty').default('127.0.0.1'),
  PORT: integer(0, 65_535, 8080),
  WORKER_URL: httpUrl,
  PUBLIC_URL: httpUrl,
  TRUSTED_PROXIES: list.superRefine((trust, context) => {
    checkWith(context, () => clientIp({ trust }), "must list addresses, ranges such as '10.0.0.0/8', or loopback");
  }),
});

/** Checks a value with the guard that will use it. */
function checkWith(context: z.RefinementCtx, createGuard: () => unknown, message: string): void {
  try {
    createGuard();
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    context.addIssue({ code: 'custom', message });
  }
}

/**
 * Reads the gateway's settings. Without `POINT_E_SECRET_KEY` a secret is generated, to try the gateway on this machine only.
 * @throws SettingsError that lists all mistakes
 */
export function readSettings(environment: Readonly<Record<string, string | undefined>>): Settings {
  const parsed = Environment.safeParse(environment);
  const mistakes = parsed.error?.issues.map(({ path, message }) => `${path.join('.')} ${message}`) ?? [];
  const { POINT_E_SECRET_KEY: current, POINT_E_PREVIOUS_SECRET_KEY: previous, HOST = '127.0.0.1' } = environment;
  if (current === undefined && !LOOPBACK.includes(HOST)) {
    mistakes.push('POINT_E_SECRET_KEY must be set if HOST is not loopback');
  }
  if (current === undefined && environment.NODE_ENV === 'production') {
    mistakes.push('POINT_E_SECRET_KEY must be set if NODE_ENV is production');
  }
  if (current !== undefined && current === previous) {
    mistakes.push('POINT_E_PREVIOUS_SECRET_KEY must differ from POINT_E_SECRET_KEY');
  }
  if (!parsed.success || mistakes.length > 0) throw new SettingsError(mistakes.join('\n'));
  const { data } = parsed;
  return {
    secrets: [current ?? randomBytes(32).toString('hex'), ...(previous === undefined ? [] : [previous])],
    secretIsGenerated: current === undefined,
    limitPerIp: data.RATE_LIMIT_PER_IP,
    window: data.RATE_LIMIT_WINDOW,
    host: data.HOST,
    port: data.PORT,
    workerUrl: data.WORKER_URL,
    trustedProxies: data.TRUSTED_PROXIES,
    publicUrl: data.PUBLIC_URL,
  };
}

/** The settings as a start-up message may show them, without secrets. */
export function describe(settings: Settings): readonly string[] {
  const { secrets, secretIsGenerated, limitPerIp, window, trustedProxies } = settings;
  const previous = secrets.length > 1 ? ', with a previous secret' : '';
  const period = isOneDay(window) ? 'a day, reset at midnight UTC' : `any ${window}`;
  return [
    `POINT_E_SECRET_KEY   ${secretIsGenerated ? 'generated for this run' : 'set'}${previous}`,
    `RATE_LIMIT_PER_IP    ${limitPerIp} generations in ${period}`,
    `TRUSTED_PROXIES      ${trustedProxies.length === 0 ? 'none' : trustedProxies.join(', ')}`,
    `HOST                 ${settings.host}${LOOPBACK.includes(settings.host) ? ' (this machine only)' : ''}`,
    `WORKER_URL           ${settings.workerUrl ?? 'the CPU stand-in, started by this process'}`,
  ];
}

/** The guide's window of a day is a quota that resets at midnight UTC. Any other window slides. */
export function isOneDay(window: Duration): boolean {
  return toMilliseconds(window) === toMilliseconds('24h');
}
