import type { AddressInfo } from 'node:net';
import { OptionError } from 'gatewarden';
import type { DescribedSetting } from 'gatewarden/env';

/**
 * Prints the settings as they are set, with `(default)` after each one that is not. `unset` says what a variable that is
 * not set means, where its default does not.
 */
export function printSettings(
  described: readonly DescribedSetting[],
  unset: Readonly<Record<string, string | undefined>> = {},
): void {
  const width = Math.max(...described.map(({ name }) => name.length));
  console.log('Security settings:');
  for (const { name, value, source } of described) {
    const shown = source === 'default' ? `${unset[name] ?? value} (default)` : value;
    console.log(`  ${name.padEnd(width)}  ${shown}`);
  }
}

/** Warns that a proxy's name is not served yet: clients that come by the proxy use a name that only the operator knows. */
export function warnOfHosts(settings: {
  readonly trustedProxies: readonly string[];
  readonly trustedHosts: readonly string[];
  readonly described: readonly DescribedSetting[];
}): void {
  const { trustedProxies, trustedHosts, described } = settings;
  const hostsAreSet = described.some(({ name, source }) => name === 'TRUSTED_HOSTS' && source === 'environment');
  if (trustedProxies.length === 0 || trustedHosts.length === 0 || hostsAreSet) return;
  console.warn(
    `Warning: requests for other hosts than ${trustedHosts.join(', ')} are refused. ` +
      'Set TRUSTED_HOSTS to the names that clients of the proxy use.',
  );
}

/** The URL at which this machine reaches a server that listens on `host`. `address` is what the server reports. */
export function originOf(host: string, address: AddressInfo | string | null): string {
  const port = typeof address === 'object' ? address?.port : undefined;
  if (host === '0.0.0.0' || host === '::') return `http://127.0.0.1:${port}`;
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** The variables that set where a server listens. */
export interface ListenVariables {
  readonly host: string;
  readonly port: string;
}

/** Ends the process, and says why the service could not start. A mistake of the operator takes no stack to explain. */
export function exitOnFailure(error: unknown, variables: ListenVariables = { host: 'HOST', port: 'PORT' }): never {
  if (error instanceof OptionError) console.error(error.message);
  else console.error(listenFailure(error, variables) ?? error);
  process.exit(1);
}

/** Why a server cannot listen, in one sentence. Undefined for any other error. */
export function listenFailure(error: unknown, variables: ListenVariables): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, syscall, address, port, hostname } = error as NodeJS.ErrnoException & {
    address?: string;
    port?: number;
    hostname?: string;
  };
  if (syscall === 'getaddrinfo') {
    return `Cannot listen on ${hostname}, which is no address of this machine: set ${variables.host} to another value.`;
  }
  if (syscall !== 'listen') return undefined;
  const where = `${address?.includes(':') ? `[${address}]` : address}:${port ?? 0}`;
  switch (code) {
    case 'EADDRINUSE':
      return `Cannot listen on ${where}, which another program uses: stop it, or set ${variables.port} to another value.`;
    case 'EADDRNOTAVAIL':
      return `Cannot listen on ${where}, which is no address of this machine: set ${variables.host} to another value.`;
    case 'EACCES':
      return `Cannot listen on ${where}, which this user may not: set ${variables.port} to 1024 or above.`;
    default:
      return `Cannot listen on ${where} (${code}): set ${variables.host} or ${variables.port} to another value.`;
  }
}
