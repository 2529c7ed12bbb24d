import type { JobBooking } from './ledger.js';

const MAX_JOB_LENGTH = 128;

/** For ledgers: one booking with a wrong figure would spoil a sum for good. @throws RangeError */
export function checkBooking({ job, gpuTime }: JobBooking): void {
  if (typeof job !== 'string' || job === '' || job.length > MAX_JOB_LENGTH) {
    throw new RangeError(`gatewarden: the "job" of a booking must be 1 to ${MAX_JOB_LENGTH} characters`);
  }
  if (!Number.isSafeInteger(gpuTime) || gpuTime < 0) {
    throw new RangeError(
      `gatewarden: the "gpuTime" of a booking must be a whole number of milliseconds, 0 or more, got ${gpuTime}`,
    );
  }
}
