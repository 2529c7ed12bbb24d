import { afterAll } from 'vitest';

/**
 * Test files share a process, and what a file repeats ends with it. A worker is asked for the jobs that have ended for as
 * long as the process lives: by then another file's server may have the port.
 */
const setIntervalOfNode = globalThis.setInterval;
const intervals: NodeJS.Timeout[] = [];

globalThis.setInterval = Object.assign((...args: Parameters<typeof setIntervalOfNode>) => {
  const interval = setIntervalOfNode(...args);
  intervals.push(interval);
  return interval;
}, setIntervalOfNode);

afterAll(() => {
  globalThis.setInterval = setIntervalOfNode;
  for (const interval of intervals) clearInterval(interval);
});
