/**
 * Metrics of guards, stores and workers, for Prometheus and OpenTelemetry.
 * @module gatewarden/metrics
 */
export { type EventMeter, type MetricsGuard, type MetricsOptions, metrics } from './metrics.js';
export { type MetricsEndpointOptions, metricsEndpoint } from './metrics-endpoint.js';
export type { OpenTelemetryMeter } from './open-telemetry.js';
export type { PrometheusClient, PrometheusRegister } from './prometheus.js';
