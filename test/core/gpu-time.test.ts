import { expect, it } from 'vitest';
import { reportedGpuTime, reportGpuTime } from '../../src/core/gpu-time.js';
import { Exchange } from '../../src/index.js';

function exchange(): Exchange {
  const headers = { get: () => undefined, set: () => undefined, remove: () => undefined, onHead: () => undefined };
  const request = { method: 'GET', url: '/', remoteAddress: undefined, encrypted: false, fieldLines: () => [] };
  return new Exchange(request, headers);
}

it('reports each millisecond of GPU time once, whatever the order of the totals', () => {
  const received: number[] = [];
  const observed = exchange();
  observed.observer = { gpuTime: (_exchange, milliseconds) => received.push(milliseconds) };
  for (const total of [100, 250, 200, 250, 251]) reportGpuTime(observed, total);
  expect([received, reportedGpuTime(observed)]).toEqual([[100, 150, 1], 251]);
});

it('reports nothing without an observer of GPU time', () => {
  const observed = exchange();
  reportGpuTime(observed, 100);
  observed.observer = {};
  reportGpuTime(observed, 100);
  expect(reportedGpuTime(observed)).toBe(0);
});
