import type { StoreClock } from '../store-clock.js';
import type { FoundFile, WrittenClock } from './journal-files.js';

/** A smaller difference is that of reading two clocks, and of clocks that count hundredths of a second. */
const NOISE = 20;

/** The clocks of this process and this machine. */
export interface ClocksNow {
  readonly clock: StoreClock;
  /** Milliseconds since the machine was started. NaN if that is unknown. */
  readonly uptime: number;
  readonly boot: string;
}

/**
 * What has to be added to the times of windows in each file, so that they are times of this process' clock: the monotonic
 * clock of another process began elsewhere. Since the last record, never more time has passed for them than in truth, if
 * the machine can know it: a clock that was set back gives no quota away.
 */
export function shiftsOf(files: readonly FoundFile[], now: ClocksNow, isClockGiven: boolean): readonly number[] {
  const newest = files.at(-1);
  // A clock of the service has the same times in every process.
  if (newest === undefined || isClockGiven || newest.header.isClockGiven) return files.map(() => 0);
  let shift = now.clock.steady - lastTime(files) - passed(files, now);
  const shifts: number[] = [];
  for (const { header } of [...files].reverse()) {
    shifts.unshift(shift);
    // What the process that began this file has added to the times of those before.
    shift += header.shift;
  }
  return shifts;
}

/** When the last record was written, by the clock of windows of the process that wrote it. */
function lastTime(files: readonly FoundFile[]): number {
  let shift = 0;
  for (const { time, header } of [...files].reverse()) {
    if (time !== undefined) return time + shift;
    shift += header.shift;
  }
  return Number.NaN;
}

/** How much time has passed since the last record. */
function passed(files: readonly FoundFile[], { clock, uptime, boot }: ClocksNow): number {
  const written = lastClock(files);
  if (written === undefined) return 0;
  const since = Math.max(0, lastTime(files) - written.steady);
  // Both are times since a start of the machine. So their difference is never more than what has passed, also after another
  // start, and exactly that after none.
  const atLeast = uptime - written.uptime - since - NOISE;
  const isSameBoot = boot !== '' && boot === written.boot && atLeast > -2 * NOISE;
  const byDay = isSameBoot ? 0 : clock.wall - written.wall - since;
  return Math.max(0, Number.isNaN(atLeast) ? 0 : atLeast, byDay);
}

function lastClock(files: readonly FoundFile[]): (WrittenClock & { readonly boot: string }) | undefined {
  let shift = 0;
  for (const { clock, header } of [...files].reverse()) {
    if (clock !== undefined) return { ...clock, steady: clock.steady + shift, boot: header.boot };
    shift += header.shift;
  }
  return undefined;
}
