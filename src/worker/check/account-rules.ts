import { type EndedJob, endedJobs, memberOf } from '../contract.js';
import { must, type WorkerRule } from './rule.js';
import { described, type WorkerProbe } from './worker-probe.js';

interface EndedList {
  readonly sum: number;
  readonly jobs: readonly EndedJob[];
}

async function listAfter(probe: WorkerProbe, number: number): Promise<EndedList> {
  const answer = await probe.ended(number);
  const jobs = endedJobs(answer.body);
  const sum = memberOf(answer.body, 'gpu_ms');
  must(answer.status === 200, `GET /jobs/ended responded with ${described(answer)}`);
  must(
    jobs !== undefined,
    'GET /jobs/ended has no list "ended" of jobs with number, slot, token, gpu_ms, end and age_ms',
  );
  must(typeof sum === 'number', 'GET /jobs/ended has no "gpu_ms", the time of all jobs that have ended');
  return { sum, jobs };
}

/** The newest job of the list, and the sum. */
async function newest(probe: WorkerProbe): Promise<EndedList & { readonly number: number }> {
  let number = 0;
  for (;;) {
    const list = await listAfter(probe, number);
    const last = list.jobs.at(-1)?.number;
    if (last === undefined) return { ...list, number };
    must(last > number, `GET /jobs/ended?after=${number} lists the job ${last}`);
    number = last;
  }
}

/** Rules about the list of jobs that have ended, which a worker need not keep. */
export const ACCOUNT_RULES: readonly WorkerRule[] = [
  {
    name: 'ended-list',
    rule: 'GET /jobs/ended lists a job that has ended once, with its account and its GPU time',
    skipped: (probe) => (probe.keepsEnded ? undefined : 'it keeps no list: GET /jobs/ended does not respond with 200'),
    async check(probe) {
      const before = await newest(probe);
      const account = `a1.${'check_-'.repeat(20)}`;
      const job = await probe.start(0, { account });
      const during = await listAfter(probe, before.number);
      must(during.jobs.length === 0, 'it lists a job that still runs');
      const answer = await job.answer;
      must(answer !== undefined && answer.status < 300, `the job was answered with ${described(answer)}`);
      // That a job has ended when it is answered is another rule.
      must(await probe.stops(job), 'the job was answered, and GET /jobs still lists it');
      const after = await listAfter(probe, before.number);
      const [ended] = after.jobs;
      must(after.jobs.length === 1 && ended !== undefined, `one job has ended, and ${after.jobs.length} are listed`);
      must(ended.number === before.number + 1, `its number is ${ended.number}, and the one before ${before.number}`);
      must(ended.slot === 0 && ended.token === job.token, "the listed slot or token is not the job's");
      must(ended.account === account, `its account is ${ended.account ?? 'missing'}, and ${account} was sent`);
      must(ended.end === 'done', `it was answered with ${answer.status}, and its end is ${ended.end}`);
      must(ended.gpuTime > 0, 'its gpu_ms is 0, and it has run');
      const risen = after.sum - before.sum;
      must(risen === ended.gpuTime, `the sum has risen by ${risen} ms, and the gpu_ms of the job is ${ended.gpuTime}`);
    },
  },
];
