import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { JobName } from './job-table.js';

/** What the headers of a job say: see README.md. */
export interface JobHeaders extends JobName {
  readonly instance: string;
  readonly deadlineMs: number;
}

const ID = /^[\w.:-]{1,128}$/;
const ACCOUNT = /^[\w.-]{1,700}$/;

/** The name of a request in the log. An id that could forge a log line is replaced. */
export function requestIdOf(headers: IncomingHttpHeaders): string {
  const id = headers['x-request-id'] ?? headers['x-job-id'];
  return typeof id === 'string' && ID.test(id) ? id : randomUUID();
}

/** Reads the headers of a job, or returns an error message. */
export function readJobHeaders(headers: IncomingHttpHeaders): JobHeaders | string {
  const id = headers['x-job-id'];
  if (typeof id !== 'string' || !ID.test(id)) return 'X-Job-Id must be 1 to 128 characters of A-Z a-z 0-9 _ . : -';
  const slot = wholeNumber(headers['x-slot'], 3);
  if (slot === undefined) return 'X-Slot must be a whole number of at most three digits';
  const token = wholeNumber(headers['x-fencing-token'], 15);
  if (token === undefined) return 'X-Fencing-Token must be a whole number of at most 15 digits';
  const instance = headers['x-worker-instance'];
  if (typeof instance !== 'string' || !ID.test(instance))
    return 'X-Worker-Instance must name an instance of this worker';
  // Ten digits may exceed the maximum of a timer, and a timer that overflows fires immediately.
  const deadlineMs = wholeNumber(headers['x-deadline-ms'], 9);
  if (deadlineMs === undefined) return 'X-Deadline-Ms must be a whole number of milliseconds, at most nine digits';
  const account = headers['x-job-account'];
  if (account !== undefined && !(typeof account === 'string' && ACCOUNT.test(account)))
    return 'X-Job-Account must be 1 to 700 characters of A-Z a-z 0-9 _ . -';
  return { id, slot, token, account, instance, deadlineMs };
}

/** A whole number without sign, of at most so many digits. */
export function wholeNumber(value: string | readonly string[] | undefined, maxDigits: number): number | undefined {
  return typeof value === 'string' && /^\d+$/.test(value) && value.length <= maxDigits ? Number(value) : undefined;
}
