import { children, type Instrument, type Instruments } from './instruments.js';

type Attributes = Record<string, string>;

interface InstrumentOptions {
  description: string;
  unit: string;
}

/** What is used of a `Meter` of `@opentelemetry/api`. */
export interface OpenTelemetryMeter {
  createCounter(name: string, options: InstrumentOptions): { add(value: number, attributes: Attributes): void };
  createUpDownCounter(name: string, options: InstrumentOptions): { add(value: number, attributes: Attributes): void };
  createHistogram(
    name: string,
    options: InstrumentOptions & { advice: { explicitBucketBoundaries: number[] } },
  ): { record(value: number, attributes: Attributes): void };
}

/** Instruments of the OpenTelemetry metrics API. An exporter for Prometheus gives them the names that `prom-client` does. */
export function openTelemetryInstruments(meter: OpenTelemetryMeter): Instruments {
  const attributesOf = ({ labels: names }: Instrument) =>
    children((labels): Attributes => Object.fromEntries(names.map((name, i) => [name, labels[i] as string])));
  return {
    counter(instrument) {
      const counter = meter.createCounter(nameOf(instrument), optionsOf(instrument));
      const attributes = attributesOf(instrument);
      return (value, ...labels) => counter.add(value, attributes(labels));
    },
    level(instrument) {
      const level = meter.createUpDownCounter(nameOf(instrument), optionsOf(instrument));
      const attributes = attributesOf(instrument);
      return (value, ...labels) => level.add(value, attributes(labels));
    },
    histogram(instrument) {
      const advice = { explicitBucketBoundaries: [...instrument.buckets] };
      const histogram = meter.createHistogram(nameOf(instrument), { ...optionsOf(instrument), advice });
      const attributes = attributesOf(instrument);
      return (value, ...labels) => histogram.record(value, attributes(labels));
    },
  };
}

/** Dots separate the parts of a name, and the unit is no part of it. */
function nameOf({ name }: Instrument): string {
  return `gatewarden.${name.replaceAll('_', '.')}`;
}

function optionsOf({ help, unit }: Instrument): InstrumentOptions {
  return { description: help, unit: unit ?? '1' };
}
