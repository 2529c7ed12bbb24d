import { randomBytes } from 'node:crypto';
import {
  adminApiKey,
  apiKeys,
  authenticate,
  type ClientIpOptions,
  clientIp,
  type Ledger,
  type LimitGuard,
  type Logger,
  type QuotaPolicy,
  requireScope,
  sequence,
} from 'gatewarden';
import { checked, secret } from 'gatewarden/env';
import {
  memoryOperatorStore,
  type OperatorControls,
  type OperatorControlsOptions,
  type OperatorPage,
  operatorControls,
  operatorPage,
} from 'gatewarden/operator';
import { redisOperatorStore } from 'gatewarden/redis';
import type { Worker } from 'gatewarden/worker';
import { type Counters, fileIn } from './counters.js';
import { isLoopback, isProduction, type Variables } from './exposure.js';

/** What the page and the actions of an example need. */
export interface DeskOptions extends Pick<OperatorControlsOptions, 'by' | 'limits'> {
  /** The name of the service. */
  readonly name: string;
  /** The key of the operator. */
  readonly key: string;
  /** How the address of the operator is found, for the log. */
  readonly clientIp: ClientIpOptions;
  /** Where measures are kept: in Redis, or else in a file of `directory`, or in memory only. */
  readonly redis: Counters['client'];
  readonly prefix: string;
  readonly directory: string | undefined;
  readonly slots: NonNullable<Parameters<typeof operatorPage>[0]['slots']>;
  readonly worker: Worker;
  /** Who has used what. Default: what this process has seen. */
  readonly ledger?: Ledger | undefined;
  readonly logger: Logger;
}

/** The operator page of an example at `/admin/desk`, and the controls that its routes need. */
export interface Desk {
  readonly controls: OperatorControls;
  readonly page: OperatorPage;
}

/** Opens the operator page. Every action is logged. */
export function operatorDesk(options: DeskOptions): Desk {
  const { name, key, by, limits, redis, prefix, directory, slots, worker, ledger, logger } = options;
  const controls = operatorControls({
    store:
      redis === undefined
        ? memoryOperatorStore({ file: fileIn(directory, 'operator.json') })
        : redisOperatorStore({ client: redis, prefix }),
    by,
    limits,
    sink: ({ action, client, ...others }) => logger.info({ action, client, ...others }, `Operator: ${action}`),
  });
  const page = operatorPage({
    admin: sequence(
      clientIp(options.clientIp),
      authenticate(apiKeys({ keys: [adminApiKey(key)] })),
      requireScope('admin'),
    ),
    name,
    controls,
    ledger,
    slots,
    timeLimits: ['gpu-seconds'],
    health: {
      async worker() {
        const { isUp, state } = await worker.status();
        return { isUp, detail: state };
      },
      ...(redis === undefined ? {} : { Redis: () => ({ isUp: redis.status === 'ready', detail: redis.status }) }),
    },
  });
  return { controls, page };
}

/** The counters of a limit whose policies depend on the client. */
export function ofClients(guard: LimitGuard, policiesOf: (client: string) => QuotaPolicy | readonly QuotaPolicy[]) {
  return {
    peek: (client: string) => guard.peek(client, policiesOf(client)),
    reset: (client: string) => guard.reset(client, policiesOf(client)),
  };
}

/** The variable of an operator's key. */
export function operatorKey() {
  return checked(secret({ optional: true }), (key) => key && adminApiKey(key));
}

/** A key for this run, to try the page on this machine. Undefined where the service could be reached by others. */
export function developmentKey(host: string, environment: Variables): string | undefined {
  return isLoopback(host) && !isProduction(environment) ? `desk-${randomBytes(16).toString('hex')}` : undefined;
}

/** The lines that say where the page is, and how to get in. */
export function deskHelp(origin: string, variable: string, generated: string | undefined): string {
  const key = generated === undefined ? `the key in ${variable}` : generated;
  return `Operator page: ${origin}/admin/desk\n  its key: ${key}\n`;
}
