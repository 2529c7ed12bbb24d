import type { Exchange } from './exchange.js';

/** What the observer of an exchange has received, in milliseconds. */
const reported = new WeakMap<Exchange, number>();

/** The GPU time of an exchange that its observer has received so far, in milliseconds. */
export function reportedGpuTime(exchange: Exchange): number {
  return exchange.observer?.gpuTime === undefined ? 0 : (reported.get(exchange) ?? 0);
}

/**
 * Reports GPU time so that its sum for the exchange is at least `total`. Several policies may count the same time, and a
 * worker may have reported it before.
 */
export function reportGpuTime(exchange: Exchange, total: number): void {
  if (exchange.observer?.gpuTime === undefined) return;
  const before = reportedGpuTime(exchange);
  if (total <= before) return;
  reported.set(exchange, total);
  exchange.observer.gpuTime(exchange, total - before);
}
