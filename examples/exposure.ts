import { OptionError } from 'gatewarden';

/** Environment variables. */
export type Variables = Readonly<Record<string, string | undefined>>;

const LOOPBACK = ['127.0.0.1', '::1', 'localhost'];
/** The names by which programs on this machine reach a service that listens on loopback. */
const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]'];
const PRODUCTION = /^\s*prod/i;

/** Whether only this machine can reach a server that listens on `host`. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.includes(host.toLowerCase());
}

/** Whether `NODE_ENV` or `ENVIRONMENT` says production. */
export function isProduction({ NODE_ENV = '', ENVIRONMENT = '' }: Variables): boolean {
  return PRODUCTION.test(NODE_ENV) || PRODUCTION.test(ENVIRONMENT);
}

/**
 * Checks the secrets that may be missing only in development, on loopback.
 * @throws OptionError that lists the missing ones
 */
export function requireSecrets(secrets: Variables, host: string, environment: Variables): void {
  if (isLoopback(host) && !isProduction(environment)) return;
  const missing = Object.keys(secrets).filter((name) => secrets[name] === undefined);
  if (missing.length === 0) return;
  const lines = missing.map((name) => `"${name}" must be set if HOST is not loopback, and in production`);
  throw new OptionError(`gatewarden: bad settings:${lines.length === 1 ? ' ' : '\n  '}${lines.join('\n  ')}`);
}

/**
 * The hosts that a service serves: those that are set, or the names of this machine if it listens on loopback, where a
 * web page could otherwise reach it under a name of its own (DNS rebinding). If the list is empty, any host is served.
 */
export function hostsOf(trustedHosts: readonly string[], host: string): readonly string[] {
  return trustedHosts.length === 0 && isLoopback(host) ? LOOPBACK_NAMES : trustedHosts;
}
