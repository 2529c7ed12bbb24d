import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  DEADLINE,
  ENDED_PATH,
  INSTANCE,
  JOB_ACCOUNT,
  JOB_ID,
  JOBS_PATH,
  jobPath,
  type ListedJob,
  listedJobs,
  memberOf,
  READY_PATH,
  SLOT,
  TOKEN,
} from '../contract.js';
import { jsonOf, reasonOf } from '../worker-link.js';

const POLL_MS = 15;
const ANSWER_MS = 10_000;
const LONG_DEADLINE_MS = 600_000;

/** Thrown by a rule that does not hold. The message says what the worker did. */
export class RuleBroken extends Error {}

/** The request of a job that takes a while. */
export interface CheckedJob {
  readonly path: string;
  readonly contentType: string;
  readonly body: string | Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
}

/** A response of the worker, read to its end. `body` is undefined if it is not JSON. */
export interface ProbeAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

/** A job that was posted. */
export interface PostedJob {
  readonly id: string;
  readonly slot: number;
  readonly token: number;
  /** Undefined if the connection ended before the response did. */
  readonly answer: Promise<ProbeAnswer | undefined>;
  /** Ends the connection. */
  close(): void;
}

export interface PostOptions {
  readonly instance?: string;
  readonly deadlineMs?: number;
  readonly account?: string;
  /** A header to leave out. */
  readonly without?: string;
}

/** Speaks the contract as a gateway does, and as a broken gateway might. */
export class WorkerProbe {
  /** Set by the first rules. */
  instance = '';
  slots = 1;
  keepsEnded = false;
  /** How long the job takes if it is not stopped. */
  jobMs: number | undefined = undefined;
  readonly stopWithinMs: number;
  readonly #url: string;
  readonly #job: CheckedJob;
  readonly #posted: PostedJob[] = [];
  #token = Date.now();

  constructor(url: string, job: CheckedJob, stopWithinMs: number) {
    this.#url = url;
    this.#job = job;
    this.stopWithinMs = stopWithinMs;
  }

  /** Above every token before, as the store grants them. */
  nextToken(): number {
    this.#token = Math.max(this.#token + 1, Date.now());
    return this.#token;
  }

  ready(): Promise<ProbeAnswer> {
    return this.#ask('GET', READY_PATH);
  }

  /** The jobs that have ended after the one of this number. */
  ended(after: number): Promise<ProbeAnswer> {
    return this.#ask('GET', `${ENDED_PATH}?after=${after}`);
  }

  jobs(): Promise<ProbeAnswer> {
    return this.#ask('GET', JOBS_PATH);
  }

  /** The jobs that run. */
  async list(): Promise<readonly ListedJob[]> {
    const { status, body } = await this.jobs();
    const jobs = listedJobs(body);
    if (status !== 200 || jobs === undefined) {
      throw new RuleBroken(`GET ${JOBS_PATH} responded with ${status} and no list of jobs`);
    }
    return jobs;
  }

  async isListed({ slot, token }: Pick<PostedJob, 'slot' | 'token'>): Promise<boolean> {
    return (await this.list()).some((job) => job.slot === slot && job.token === token);
  }

  cancel(slot: number, token: number, instance = this.instance): Promise<ProbeAnswer> {
    return this.#ask('DELETE', jobPath(slot, token), { [INSTANCE]: instance });
  }

  /** Posts a job. Its response is awaited separately. */
  post(
    slot: number,
    token: number,
    { instance = this.instance, deadlineMs, account, without }: PostOptions = {},
  ): PostedJob {
    const id = randomUUID();
    const { path, contentType, body, headers } = this.#job;
    const all: Record<string, string> = {
      ...headers,
      'Content-Type': contentType,
      [JOB_ID]: id,
      [SLOT]: String(slot),
      [TOKEN]: String(token),
      [INSTANCE]: instance,
      [DEADLINE]: String(deadlineMs ?? LONG_DEADLINE_MS),
    };
    if (account !== undefined) all[JOB_ACCOUNT] = account;
    if (without !== undefined) delete all[without];
    const connection = new AbortController();
    const init = {
      method: 'POST',
      headers: all,
      body: body as NonNullable<RequestInit['body']>,
      signal: connection.signal,
    };
    const answer = fetch(`${this.#url}${path}`, { ...init, redirect: 'error' }).then(readAnswer);
    const job = { id, slot, token, answer: answer.catch(() => undefined), close: () => connection.abort() };
    this.#posted.push(job);
    return job;
  }

  /** Posts a job and waits until it runs. */
  async start(slot = 0, options: PostOptions = {}): Promise<PostedJob> {
    const job = this.post(slot, this.nextToken(), options);
    let answered: ProbeAnswer | undefined;
    let hasEnded = false;
    void job.answer.then((answer) => {
      answered = answer;
      hasEnded = true;
    });
    const until = Date.now() + ANSWER_MS;
    while (!(await this.isListed(job))) {
      if (hasEnded) throw new RuleBroken(`a valid job did not start: ${described(answered)}`);
      if (Date.now() > until) throw new RuleBroken(`a valid job is not in GET ${JOBS_PATH} after ${ANSWER_MS} ms`);
      await sleep(POLL_MS);
    }
    return job;
  }

  /** The response to a job that must be refused. Undefined if it runs instead, or is not answered. */
  async refusalOf(job: PostedJob): Promise<ProbeAnswer | undefined> {
    const { answer } = job;
    const until = Date.now() + ANSWER_MS;
    while (Date.now() < until) {
      const answered = await Promise.race([answer.then((value) => ({ value })), sleep(POLL_MS)]);
      if (answered !== undefined) return answered.value;
      if (await this.isListed(job)) return undefined;
    }
    return undefined;
  }

  /** The response to a job that must stop now, or in `afterMs`. Undefined if there is none in time. */
  async stopOf({ answer }: PostedJob, afterMs = 0): Promise<ProbeAnswer | undefined> {
    const stop = new AbortController();
    const late = sleep(this.stopWithinMs + afterMs, undefined, { signal: stop.signal }).catch(() => undefined);
    try {
      return await Promise.race([answer, late]);
    } finally {
      stop.abort();
    }
  }

  /** Whether the job is not listed any more within the time that the worker has to stop a job. */
  async stops(job: PostedJob): Promise<boolean> {
    const until = Date.now() + this.stopWithinMs;
    while (await this.isListed(job)) {
      if (Date.now() > until) return false;
      await sleep(POLL_MS);
    }
    return true;
  }

  /** Ends all that a rule has started, so that the next one finds an idle worker. */
  async clear(withinMs: number): Promise<void> {
    for (const job of this.#posted.splice(0)) {
      await this.cancel(job.slot, job.token).catch(() => undefined);
      job.close();
    }
    const until = Date.now() + withinMs;
    while ((await this.list().catch(() => [])).length > 0 && Date.now() < until) await sleep(POLL_MS);
  }

  async #ask(method: string, path: string, headers: Record<string, string> = {}): Promise<ProbeAnswer> {
    const signal = AbortSignal.timeout(ANSWER_MS);
    try {
      return await readAnswer(await fetch(`${this.#url}${path}`, { method, headers, signal, redirect: 'error' }));
    } catch (error) {
      throw new RuleBroken(`${method} ${path} got no response: ${reasonOf(error)}`);
    }
  }
}

/** A response in a few words. */
export function described(answer: ProbeAnswer | undefined): string {
  if (answer === undefined) return 'no refusal: it may have run';
  const error = memberOf(answer.body, 'error');
  return `${answer.status}${typeof error === 'string' ? ` (${error})` : ''}`;
}

async function readAnswer(response: Response): Promise<ProbeAnswer> {
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: jsonOf(text) };
}
