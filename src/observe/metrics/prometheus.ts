import { OptionError } from '../../core/option.js';
import { children, type Instrument, type Instruments } from './instruments.js';

/** A registry of `prom-client`. */
export interface PrometheusRegister {
  readonly contentType: string;
  metrics(): Promise<string>;
  getSingleMetric(name: string): unknown;
}

interface MetricSettings {
  readonly name: string;
  readonly help: string;
  readonly labelNames: string[];
  readonly registers: never[];
}

/** What is used of the module `prom-client`. */
export interface PrometheusClient {
  readonly Counter: new (settings: MetricSettings) => { labels(...values: string[]): { inc(value: number): void } };
  readonly Gauge: new (settings: MetricSettings) => { labels(...values: string[]): { inc(value: number): void } };
  readonly Histogram: new (
    settings: MetricSettings & { readonly buckets: number[] },
  ) => { labels(...values: string[]): { observe(value: number): void } };
  readonly register: PrometheusRegister;
}

/** Instruments of `prom-client`. */
export function prometheusInstruments(client: PrometheusClient, register: PrometheusRegister): Instruments {
  const settingsOf = ({ help, labels }: Instrument, name: string): MetricSettings => {
    if (register.getSingleMetric(name) !== undefined) throw new OptionError(TWICE);
    return { name, help, labelNames: [...labels], registers: [register as never] };
  };
  return {
    counter(instrument) {
      const counter = new client.Counter(settingsOf(instrument, `${nameOf(instrument)}_total`));
      const child = children((labels) => counter.labels(...labels));
      return (value, ...labels) => child(labels).inc(value);
    },
    level(instrument) {
      const gauge = new client.Gauge(settingsOf(instrument, nameOf(instrument)));
      const child = children((labels) => gauge.labels(...labels));
      return (value, ...labels) => child(labels).inc(value);
    },
    histogram(instrument) {
      const settings = settingsOf(instrument, nameOf(instrument));
      const histogram = new client.Histogram({ ...settings, buckets: [...instrument.buckets] });
      const child = children((labels) => histogram.labels(...labels));
      return (value, ...labels) => child(labels).observe(value);
    },
  };
}

/** The unit is a part of the name: https://prometheus.io/docs/practices/naming/ */
function nameOf({ name, unit }: Instrument): string {
  return `gatewarden_${name}${unit === 's' ? '_seconds' : ''}`;
}

const TWICE =
  'gatewarden: metrics was called twice with one register; call it once, and share the guard that it returns';
