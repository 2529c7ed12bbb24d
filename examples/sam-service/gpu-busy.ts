/** How much the GPU was busy with the jobs of this process. */
export interface GpuBusy {
  /** A job begins. Call what it returns when the job has ended. */
  begin(): () => void;
  /** Which part of the last minute the slots were used, as a percentage with one decimal. */
  percent(): number;
}

const WINDOW_MS = 60_000;

/** Adds up the time of jobs at a worker with so many slots. `clock` is monotonic, in milliseconds. */
export function gpuBusy(slots: number, clock: () => number): GpuBusy {
  const running = new Set<{ readonly from: number }>();
  let ended: { readonly from: number; readonly to: number }[] = [];

  return {
    begin() {
      const job = { from: clock() };
      running.add(job);
      return () => {
        if (!running.delete(job)) return;
        const to = clock();
        ended = ended.filter((other) => other.to > to - WINDOW_MS);
        ended.push({ ...job, to });
      };
    },
    percent() {
      const now = clock();
      const start = now - WINDOW_MS;
      let busy = 0;
      for (const { from, to } of ended) busy += Math.max(0, to - Math.max(from, start));
      for (const { from } of running) busy += now - Math.max(from, start);
      return Math.round((1000 * busy) / (WINDOW_MS * slots)) / 10;
    },
  };
}
