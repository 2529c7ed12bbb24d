import { checkExchange } from '../../core/check-exchange.js';
import type { Exchange } from '../../core/exchange.js';
import type { Guard } from '../../core/guard.js';
import {
  badOption,
  checkOptionNames,
  OptionError,
  type OptionNames,
  positiveInteger,
  text,
} from '../../core/option.js';
import { ExchangeMeter } from './exchange-meter.js';
import type { Add, Instruments } from './instruments.js';
import { LabelValues } from './label-values.js';
import { makeMeters } from './meters.js';
import { type OpenTelemetryMeter, openTelemetryInstruments } from './open-telemetry.js';
import { type PrometheusClient, type PrometheusRegister, prometheusInstruments } from './prometheus.js';

/** The options of `metrics`: `client`, or `meter`. */
export interface MetricsOptions {
  /** The module `prom-client`, version 15: `import * as client from 'prom-client'`. */
  readonly client?: PrometheusClient | undefined;
  /** Where `prom-client` registers the metrics. Default its global `register`. */
  readonly register?: PrometheusRegister | undefined;
  /** A meter of `@opentelemetry/api`, instead of `client`. */
  readonly meter?: OpenTelemetryMeter | undefined;
  /** How many routes have a label of their own, up to 10,000. All others share the label `other`. Default 100. */
  readonly maxRoutes?: number | undefined;
}

/** Receives what a store or a worker reports. */
export type EventMeter = (event: { readonly kind: string; readonly state?: string }) => void;

/** The guard that measures, and what else can be measured. */
export interface MetricsGuard extends Guard {
  /**
   * Returns a function for `onEvent` of `redisStore`. It measures whether the store answers, under the label `name`.
   * Default `redis`.
   */
  storeEvents(name?: string): EventMeter;
  /**
   * Returns a function for `onEvent` of `worker`. It measures whether the worker accepts jobs, under the label `name`, once
   * that is known. Default `worker`.
   */
  workerEvents(name?: string): EventMeter;
}

const OPTIONS: OptionNames<MetricsOptions> = { client: true, register: true, meter: true, maxRoutes: true };
/** For events: a name is chosen by the code of the service. */
const MAX_EVENTS = 100;

/**
 * Measures every exchange: what the guards decide, how long guards, stores and workers take, what is in flight, waits and is
 * held, and the GPU time. The metrics belong to `prom-client` or to OpenTelemetry. No label contains what a client sent:
 * neither its id, its address, its key, nor the path of a request. So their number does not grow with the clients. Put it
 * first, for the whole application. It never answers, and what goes wrong with a metric is a fault that changes no response.
 *
 * ```ts
 * import * as client from 'prom-client'
 *
 * const measured = metrics({ client })
 * app.use(guard(measured, clientIp()))
 * ```
 * @throws OptionError without a library, for two, if the register has these metrics already, and for any other bad option
 */
export function metrics(options: MetricsOptions): MetricsGuard {
  checkOptionNames('metrics', options, OPTIONS);
  const maxRoutes = positiveInteger('metrics', 'maxRoutes', options.maxRoutes ?? 100, 10_000);
  const meters = makeMeters(instrumentsOf(options));
  const meter = new ExchangeMeter(meters, maxRoutes);
  const events = new LabelValues(MAX_EVENTS);

  function measure(exchange: Exchange): void {
    const end = meter.begin(exchange);
    if (end === undefined) return;
    exchange.onEnd(end);
  }

  /** Returns a function that sets a level to 0 or 1. There is no level before its first call. */
  function flag(add: Add, name: string): (isOn: boolean) => void {
    let current: boolean | undefined;
    return (isOn) => {
      if (isOn === current) return;
      add((isOn ? 1 : 0) - (current === true ? 1 : 0), name);
      current = isOn;
    };
  }

  return Object.assign(
    function metrics(exchange: Exchange): undefined {
      checkExchange('metrics', exchange);
      try {
        measure(exchange);
      } catch (error) {
        exchange.fault(error);
      }
      return undefined;
    },
    {
      storeEvents(name = 'redis'): EventMeter {
        const setOpen = flag(meters.breaker, text('storeEvents', 'name', name));
        setOpen(false);
        return ({ kind }) => {
          if (kind === 'unavailable' || kind === 'available') setOpen(kind === 'unavailable');
          meters.storeEvents(1, name, events.of(kind));
        };
      },
      workerEvents(name = 'worker'): EventMeter {
        const setReady = flag(meters.workerReady, text('workerEvents', 'name', name));
        return ({ kind, state }) => {
          if (kind === 'state') setReady(state === 'ready' || state === 'busy');
          meters.workerEvents(1, name, events.of(kind));
        };
      },
    },
  );
}

function instrumentsOf({ client, register, meter }: MetricsOptions): Instruments {
  if ((client === undefined) === (meter === undefined)) throw new OptionError(ONE_LIBRARY);
  if (meter !== undefined) {
    if (register !== undefined) throw new OptionError('gatewarden: metrics "register" is only for "client"');
    if (typeof meter?.createCounter !== 'function') {
      throw badOption('metrics', 'meter', 'must be a meter of @opentelemetry/api', meter);
    }
    return openTelemetryInstruments(meter);
  }
  if (client === undefined || typeof client?.Counter !== 'function' || client.register === undefined) {
    throw badOption('metrics', 'client', "must be the module 'prom-client'", client, HOW_TO_IMPORT);
  }
  const used = register ?? client.register;
  if (typeof used?.getSingleMetric !== 'function') {
    throw badOption('metrics', 'register', 'must be a registry of prom-client', used);
  }
  return prometheusInstruments(client, used);
}

const ONE_LIBRARY =
  'gatewarden: metrics needs "client", the module prom-client, or "meter", a meter of OpenTelemetry, and not both';
const HOW_TO_IMPORT = "write import * as client from 'prom-client'";
