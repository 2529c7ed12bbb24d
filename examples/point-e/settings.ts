import { randomBytes } from 'node:crypto';
import { clientIp, OptionError, sharedSecret } from 'gatewarden';
import { z } from 'zod';

export interface Settings {
  /** The secret of the main server first, then those that are being replaced. */
  readonly secrets: readonly string[];
  /** Whether the secret was made up for this run. */
  readonly secretMadeUp: boolean;
  readonly limitPerIp: number;
  readonly windowSeconds: number;
  readonly host: string;
  readonly port: number;
  /** Undefined: start the stand-in. */
  readonly workerUrl: string | undefined;
  readonly trustedProxies: readonly string[];
  /** Where clients reach the gateway; undefined: as their own request named it. */
  readonly publicUrl: string | undefined;
}

/** Thrown with every bad setting at once, each by its name, none with its value. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
}

const LOOPBACK = ['127.0.0.1', '::1', 'localhost'];

const integer = (min: number, max: number, ordinary: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, `must be an integer from ${min} to ${max}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be an integer from ${min} to ${max}`)
    .default(ordinary);

const httpUrl = z
  .url({ protocol: /^https?$/, error: 'must be an http or https URL' })
  .refine((url) => /^[^@?#]*$/.test(url), 'must have no credentials, query or fragment')
  .transform((url) => url.replace(/\/+$/, ''))
  .optional();

const secret = z.string().superRefine((value, context) => {
  explain(context, () => sharedSecret({ secrets: [value] }), 'must be at least 32 letters, digits or -._~+/');
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
  RATE_LIMIT_WINDOW: integer(1, 31_536_000, 86_400),
  HOST: z.string().min(1, 'must not be empty').default('127.0.0.1'),
  PORT: integer(0, 65_535, 8080),
  WORKER_URL: httpUrl,
  PUBLIC_URL: httpUrl,
  TRUSTED_PROXIES: list.superRefine((trust, context) => {
    explain(context, () => clientIp({ trust }), "must list addresses, ranges such as '10.0.0.0/8', or loopback");
  }),
});

/** Lets the guard that will use a value judge it. */
function explain(context: z.RefinementCtx, make: () => unknown, message: string): void {
  try {
    make();
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    context.addIssue({ code: 'custom', message });
  }
}

/**
 * The gateway's settings. Without `POINT_E_SECRET_KEY` one is made up, for trying it out on this machine alone.
 * @throws SettingsError
 */
export function readSettings(environment: Readonly<Record<string, string | undefined>>): Settings {
  const parsed = Environment.safeParse(environment);
  const mistakes = parsed.error?.issues.map(({ path, message }) => `${path.join('.')} ${message}`) ?? [];
  const { POINT_E_SECRET_KEY: current, POINT_E_PREVIOUS_SECRET_KEY: previous, HOST = '127.0.0.1' } = environment;
  if (current === undefined && !LOOPBACK.includes(HOST)) {
    mistakes.push('POINT_E_SECRET_KEY must be set where HOST is not loopback');
  }
  if (current === undefined && environment.NODE_ENV === 'production') {
    mistakes.push('POINT_E_SECRET_KEY must be set where NODE_ENV is production');
  }
  if (current !== undefined && current === previous) {
    mistakes.push('POINT_E_PREVIOUS_SECRET_KEY must differ from POINT_E_SECRET_KEY');
  }
  if (!parsed.success || mistakes.length > 0) throw new SettingsError(mistakes.join('\n'));
  const { data } = parsed;
  return {
    secrets: [current ?? randomBytes(32).toString('hex'), ...(previous === undefined ? [] : [previous])],
    secretMadeUp: current === undefined,
    limitPerIp: data.RATE_LIMIT_PER_IP,
    windowSeconds: data.RATE_LIMIT_WINDOW,
    host: data.HOST,
    port: data.PORT,
    workerUrl: data.WORKER_URL,
    trustedProxies: data.TRUSTED_PROXIES,
    publicUrl: data.PUBLIC_URL,
  };
}

/** The settings as a start-up message may show them. */
export function describe(settings: Settings): readonly string[] {
  const { secrets, secretMadeUp, limitPerIp, windowSeconds, trustedProxies } = settings;
  const earlier = secrets.length > 1 ? ', and the one before it' : '';
  const window = windowSeconds === 86_400 ? 'a day, from midnight UTC' : `${windowSeconds} s, sliding`;
  return [
    `POINT_E_SECRET_KEY   ${secretMadeUp ? 'made up for this run' : 'set'}${earlier}`,
    `RATE_LIMIT_PER_IP    ${limitPerIp} generations in ${window}`,
    `TRUSTED_PROXIES      ${trustedProxies.length === 0 ? 'none' : trustedProxies.join(', ')}`,
    `HOST                 ${settings.host}${LOOPBACK.includes(settings.host) ? ' (this machine only)' : ''}`,
    `WORKER_URL           ${settings.workerUrl ?? 'the CPU stand-in, started here'}`,
  ];
}
