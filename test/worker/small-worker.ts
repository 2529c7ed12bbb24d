import { randomUUID } from 'node:crypto';
import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http';

interface Job {
  readonly id: string;
  readonly slot: number;
  readonly token: number;
  readonly startedAt: number;
  readonly account: string | undefined;
  stop(reason: Stop): void;
}
type Stop = 'cancelled' | 'deadline' | 'client';

export interface SmallWorkerOptions {
  readonly slots?: number;
  /** How long a job takes. */
  readonly jobMs?: number;
  /** The rule of the contract that this worker breaks. */
  readonly breaks?: string;
  /** Whether it lists jobs that have ended. Default true. */
  readonly keepsEnded?: boolean;
  /** Kept by a worker that breaks `restart`. */
  readonly instance?: string;
}

/**
 * A worker that sleeps. It follows the contract by its own code, apart from the rule that it `breaks`, so that the check is
 * tested with more than the stand-ins.
 */
export function smallWorker({
  slots = 2,
  jobMs = 2000,
  breaks,
  keepsEnded = true,
  instance = randomUUID(),
}: SmallWorkerOptions = {}): Server {
  const newest = new Map<number, number>();
  const running = new Map<number, Job>();
  const ended: object[] = [];
  let gpuMs = 0;
  let lastStarted = 0;
  const is = (rule: string) => breaks === rule;
  const counterOf = (slot: number) => (is('slots-apart') ? 0 : slot);
  const newestOf = (slot: number) => newest.get(counterOf(slot)) ?? 0;
  const raise = (slot: number, token: number) => newest.set(counterOf(slot), Math.max(newestOf(slot), token));

  function send(res: ServerResponse, status: number, body: object, headers: OutgoingHttpHeaders = {}): void {
    if (res.closed) return;
    res.writeHead(status, { 'X-Worker-Instance': is('ready') ? 'unknown' : instance, ...headers });
    res.end(JSON.stringify(body));
  }
  const conflict = (res: ServerResponse, reason: string, more: object = {}) =>
    send(res, 409, { error: reason, reason, instance, ...more });

  function listed(): object[] {
    return [...running.values()].map(({ id, slot, token, startedAt }) => ({
      id: is('listed') ? 'a-job' : id,
      slot,
      token,
      age_ms: performance.now() - startedAt,
    }));
  }

  function cancel(req: IncomingMessage, res: ServerResponse, slot: number, token: number): unknown {
    if (req.headers['x-worker-instance'] !== instance && !is('cancel-instance')) return conflict(res, 'instance');
    const job = running.get(slot);
    const names = job !== undefined && (job.token === token || (is('cancel-older') && job.token > token));
    if (!is('cancel-first')) raise(slot, token);
    if (is('cancel-repeated') && job?.token !== token) return send(res, 404, { error: 'no such job' });
    if (names && !is('cancel')) job.stop('cancelled');
    const state = names && !is('cancel-state') ? 'ending' : 'gone';
    return send(res, state === 'gone' ? 200 : 202, { state });
  }

  function post(req: IncomingMessage, res: ServerResponse): unknown {
    const { 'x-job-id': id, 'x-slot': slotText, 'x-fencing-token': tokenText } = req.headers;
    const { 'x-worker-instance': named, 'x-deadline-ms': deadline } = req.headers;
    const complete = [id, slotText, tokenText, named, deadline].every((value) => value !== undefined);
    if (!complete && !(is('headers') && deadline === undefined))
      return send(res, 400, { error: 'a header is missing' });
    const [slot, token] = [Number(slotText), Number(tokenText)];
    if (named !== instance && !is('instance')) return conflict(res, 'instance');
    if (slot >= slots && !is('slot')) return conflict(res, 'slot', { slots });
    const floor = newestOf(slot) - (is('token') && token === lastStarted ? 1 : 0);
    if (token <= floor) return conflict(res, 'token', { newest: newestOf(slot) });
    const older = running.get(slot);
    if (older !== undefined) {
      if (!is('announced')) raise(slot, is('newer-starts') ? token : token - 1);
      if (!is('newer-stops-older')) older.stop('cancelled');
      return send(res, 503, { error: 'busy', reason: 'busy' }, is('busy') ? {} : { 'Retry-After': 1 });
    }
    raise(slot, token);
    lastStarted = token;
    const account = req.headers['x-job-account'];
    return run(res, { id: String(id), slot, token, account: account?.toString() }, Number(deadline ?? 1e6));
  }

  function run(res: ServerResponse, name: Pick<Job, 'id' | 'slot' | 'token' | 'account'>, deadlineMs: number): void {
    const startedAt = performance.now();
    const timers: NodeJS.Timeout[] = [];
    let hasEnded = false;
    const end = (status: number, body: object): void => {
      if (hasEnded) return;
      hasEnded = true;
      for (const timer of timers) clearTimeout(timer);
      const answer = () =>
        send(res, status, body, is('gpu-seconds') ? {} : { 'X-GPU-Seconds': (performance.now() - startedAt) / 1000 });
      if (is('ended')) answer();
      // A moment passes between a signal to stop and the end.
      setTimeout(
        () => {
          running.delete(name.slot);
          const gpu_ms = Math.ceil(performance.now() - startedAt);
          gpuMs += gpu_ms;
          const how = status === 200 ? 'done' : 'stopped';
          const account = is('ended-list') ? undefined : name.account;
          ended.push({ number: ended.length + 1, ...name, account, gpu_ms, end: how, age_ms: 0 });
          answer();
        },
        is('ended') ? 300 : 20,
      );
    };
    const stop = (reason: Stop): void => {
      if (reason === 'deadline') end(504, { error: 'the deadline has passed' });
      else end(409, { error: 'cancelled', reason: 'cancelled' });
    };
    timers.push(setTimeout(() => end(200, {}), jobMs));
    if (!is('deadline')) timers.push(setTimeout(() => stop('deadline'), deadlineMs));
    if (!is('disconnect')) res.once('close', () => stop('client'));
    running.set(name.slot, { ...name, startedAt, stop });
  }

  return createServer((req, res) => {
    const [, slot, token] = /^\/jobs\/(\d+)\/(\d+)$/.exec(req.url ?? '') ?? [];
    if (req.method === 'DELETE' && slot !== undefined) return cancel(req, res, Number(slot), Number(token));
    if (req.url === '/ready') return send(res, 200, { ready: true, instance, slots });
    if (req.url === '/jobs') return send(res, 200, { instance, slots, jobs: listed() });
    const [, after] = /^\/jobs\/ended\?after=(\d+)$/.exec(req.url ?? '') ?? [];
    if (keepsEnded && after !== undefined)
      return send(res, 200, { instance, gpu_ms: gpuMs, ended: ended.slice(Number(after), Number(after) + 100) });
    req.resume().once('end', () => post(req, res));
  });
}
