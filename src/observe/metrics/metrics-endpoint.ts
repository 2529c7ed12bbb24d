import { Readable } from 'node:stream';
import { checkExchange } from '../../core/check-exchange.js';
import type { Guard } from '../../core/guard.js';
import { inOrder } from '../../core/guard-order.js';
import { badOption, checkOptionNames, type OptionNames } from '../../core/option.js';
import type { Reply } from '../../core/reply.js';
import type { PrometheusRegister } from './prometheus.js';

/** The options of `metricsEndpoint`. */
export interface MetricsEndpointOptions {
  /** The registry of `prom-client` whose metrics are served. */
  readonly register: Pick<PrometheusRegister, 'contentType' | 'metrics'>;
}

const OPTIONS: OptionNames<MetricsEndpointOptions> = { register: true };

/**
 * Answers with the metrics of a registry of `prom-client`, in the format that Prometheus scrapes. They show what a service
 * does, so put `authenticate` before it, or serve it on a port that only Prometheus reaches.
 *
 * ```ts
 * app.get('/metrics', guard(authenticate(apiKeys({ keys })), metricsEndpoint({ register })))
 * ```
 * @throws OptionError
 */
export function metricsEndpoint(options: MetricsEndpointOptions): Guard {
  checkOptionNames('metricsEndpoint', options, OPTIONS);
  const { register } = options;
  if (typeof register?.metrics !== 'function') {
    throw badOption('metricsEndpoint', 'register', 'must be a registry of prom-client', register);
  }
  async function scraped(): Promise<Reply> {
    const text = await register.metrics();
    return {
      status: 200,
      headers: [
        ['Content-Type', register.contentType],
        ['Cache-Control', 'no-store'],
      ],
      problem: undefined,
      stream: () => Readable.from([Buffer.from(text)]),
    };
  }

  // Not asynchronous, so that the check throws: Express 4 ignores a rejection.
  const endpoint: Guard = function metricsEndpoint(exchange) {
    checkExchange('metricsEndpoint', exchange);
    return scraped();
  };
  const why = 'it answers, so that what follows it protects nothing';
  return inOrder(endpoint, { name: 'metricsEndpoint', after: { authenticate: why, requireScope: why } });
}
