import type { OutgoingHttpHeaders } from 'node:http';
import type { JobRefusal } from './job-table.js';

/** A response of a worker, and what its log says about it. */
export interface WorkerReply {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer;
  readonly note: string;
}

// nginx's status for a disconnected client. Only the log shows it.
const STOPS: Readonly<Record<string, { readonly status: number; readonly error: string; readonly reason?: string }>> = {
  deadline: { status: 504, error: 'deadline passed' },
  cancelled: { status: 409, error: 'cancelled', reason: 'cancelled' },
  client: { status: 499, error: 'client disconnected' },
};

export function jsonReply(status: number, value: object, note: string, headers: OutgoingHttpHeaders = {}): WorkerReply {
  return {
    status,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: Buffer.from(JSON.stringify(value)),
    note,
  };
}

export function refuse(status: number, error: string, headers: OutgoingHttpHeaders = {}): WorkerReply {
  return jsonReply(status, { error }, error, headers);
}

/** The response of a job that was stopped for `reason`, with how far it had come for the log. */
export function stopped(reason: unknown, progress: string): WorkerReply {
  const { status, ...body } = STOPS[String(reason)] ?? { status: 500, error: `stopped: ${String(reason)}` };
  return jsonReply(status, body, `${body.error}, stopped ${progress}`);
}

/** The response to a job that cannot start. */
export function refusedStart(refusal: JobRefusal, instance: string): WorkerReply {
  if (refusal.reason === 'busy') {
    const error = 'the slot is busy until its job has stopped';
    return jsonReply(503, { error, reason: 'busy' }, error, { 'Retry-After': 1 });
  }
  const error = {
    instance: 'this worker has started again since: name its instance',
    slot: 'this worker does not have this slot',
    token: 'the token must be above the newest of this slot',
  }[refusal.reason];
  return jsonReply(409, { error, instance, ...refusal }, error);
}
