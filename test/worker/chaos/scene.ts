import { onTestFinished } from 'vitest';
import { type SpawnedWorker, spawnWorker } from '../../redis/processes.js';
import { type RedisServer, startRedis } from '../../redis/server.js';
import { postJob } from '../leaving-client.js';
import { FaultProxy } from './fault-proxy.js';
import type { WorkerReport } from './worker-process.js';

const GATEWAY = new URL('gateway-process.ts', import.meta.url);
const WORKER = new URL('worker-process.ts', import.meta.url);

export interface ChaosOptions {
  readonly gateways: number;
  readonly slots: number;
  readonly leaseMs: number;
  readonly deadlineMs?: number;
  /** Five credits of this kind, besides the slots. */
  readonly credits?: 'requests' | 'gpu-time';
  /** Slots of the worker, if they are more than those of the gateways. */
  readonly workerSlots?: number;
  /** How long a job goes on after it was told to stop. */
  readonly stopSeconds: number;
}

interface GatewayProcess {
  process: SpawnedWorker;
  port: number;
}

/** Gateways over one Redis, in front of one worker, with a network between them that can be disturbed. */
export class Chaos {
  readonly options: ChaosOptions;
  readonly redis: RedisServer;
  readonly proxy: FaultProxy;
  readonly gateways: GatewayProcess[] = [];
  /** What the worker has said, over all of its starts. */
  readonly reports: (WorkerReport & { readonly at: number })[] = [];
  #worker: SpawnedWorker | undefined;

  private constructor(options: ChaosOptions, redis: RedisServer, proxy: FaultProxy) {
    this.options = options;
    this.redis = redis;
    this.proxy = proxy;
  }

  static async start(options: ChaosOptions): Promise<Chaos> {
    const chaos = new Chaos(options, await startRedis(), await FaultProxy.start());
    onTestFinished(() => chaos.#stop(), 60_000);
    await chaos.restartWorker();
    await Promise.all(
      Array.from({ length: options.gateways }, async (_, i) => {
        chaos.gateways[i] = await chaos.#newGateway();
      }),
    );
    return chaos;
  }

  /** The most jobs that ran at the same time, and in one slot, counted at the worker. */
  get most(): { readonly running: number; readonly inSlot: number } {
    return {
      running: Math.max(0, ...this.reports.map(({ running }) => running)),
      inSlot: Math.max(0, ...this.reports.map(({ inSlot }) => inSlot)),
    };
  }

  get running(): number {
    return this.reports.at(-1)?.running ?? 0;
  }

  /** Kills the worker, and with it what runs on it, and starts another. */
  async restartWorker(): Promise<void> {
    await this.#worker?.stop();
    const { slots, stopSeconds, workerSlots = slots } = this.options;
    const env = { CHAOS_SLOTS: String(workerSlots), CHAOS_STOP_SECONDS: String(stopSeconds) };
    const worker = spawnWorker(WORKER, env);
    this.#worker = worker;
    this.proxy.target = Number(await worker.receive(30_000));
    this.reports.push({ kind: 'end', slot: '', token: '', running: 0, inSlot: 0, at: performance.now() });
    void this.#listen(worker);
  }

  async restartGateway(i: number): Promise<void> {
    await this.gateways[i]?.process.stop();
    this.gateways[i] = await this.#newGateway();
  }

  signal(i: number, signal: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void {
    const pid = this.gateways[i]?.process.pid;
    if (pid !== undefined) process.kill(pid, signal);
  }

  /** Posts a job to a gateway. */
  post(i: number, jobMs: number): ReturnType<typeof postJob> {
    const { port } = this.gateways[i] ?? { port: 1 };
    return postJob(`http://127.0.0.1:${port}`, String(jobMs));
  }

  async #newGateway(): Promise<GatewayProcess> {
    const { slots, leaseMs, deadlineMs = 8000, credits = '' } = this.options;
    const process = spawnWorker(GATEWAY, {
      CHAOS_REDIS: this.redis.url,
      CHAOS_WORKER: this.proxy.url,
      CHAOS_SLOTS: String(slots),
      CHAOS_LEASE: `${leaseMs}ms`,
      CHAOS_DEADLINE: `${deadlineMs}ms`,
      CHAOS_CREDITS: credits,
    });
    return { process, port: Number(await process.receive(30_000)) };
  }

  async #listen(worker: SpawnedWorker): Promise<void> {
    try {
      for (;;) this.reports.push({ ...((await worker.receive(3_600_000)) as WorkerReport), at: performance.now() });
    } catch {
      // It was killed.
    }
  }

  async #stop(): Promise<void> {
    this.proxy.close();
    await Promise.all([...this.gateways.map(({ process }) => process.stop()), this.#worker?.stop()]);
    await this.redis.stop();
  }
}
