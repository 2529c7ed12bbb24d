import { cpus, freemem, totalmem } from 'node:os';
import type { WorkerStatus } from 'gatewarden/worker';

/** Jobs by what became of them since the start of this process. */
export interface JobCounts {
  submitted: number;
  succeeded: number;
  failed: number;
  cancelled: number;
}

/** What an administrator may know of this process and its worker. No setting and no secret. */
export function systemInfo(jobs: Readonly<JobCounts>, { state, isUp }: WorkerStatus) {
  const { rss, heapUsed } = process.memoryUsage();
  return {
    system: {
      platform: process.platform,
      node: process.version,
      cpu_count: cpus().length,
      memory: { total: totalmem(), available: freemem() },
    },
    process: { uptime_seconds: Math.round(process.uptime()), memory: { rss, heap_used: heapUsed } },
    worker: { state, ready: isUp },
    jobs,
  };
}
