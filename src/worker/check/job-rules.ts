import { DEADLINE, INSTANCE, JOB_ID, memberOf, retryAfterOf, SLOT, TOKEN } from '../contract.js';
import { must, type WorkerRule } from './rule.js';
import { described, type PostedJob, type ProbeAnswer, type WorkerProbe } from './worker-probe.js';

const ANOTHER_INSTANCE = 'another-instance';
const SHORT_MS = 100;
/** Long enough for the job to be seen in the list before. */
const DEADLINE_MS = 400;

/** Runs a job that its deadline or the rule's own cancel ends soon. */
async function runShortly(probe: WorkerProbe, slot = 0): Promise<PostedJob> {
  const job = await probe.start(slot);
  await probe.cancel(slot, job.token);
  job.close();
  await probe.stops(job);
  return job;
}

function isConflict(answer: ProbeAnswer | undefined, reason: string): answer is ProbeAnswer {
  return answer?.status === 409 && memberOf(answer.body, 'reason') === reason;
}

/** Rules about what a job's request names. */
export const NAMING_RULES: readonly WorkerRule[] = [
  {
    name: 'headers',
    rule: 'a job that does not name its id, slot, token, instance and deadline is refused with 400',
    async check(probe) {
      for (const without of [JOB_ID, SLOT, TOKEN, INSTANCE, DEADLINE]) {
        const answer = await probe.refusalOf(probe.post(0, probe.nextToken(), { without }));
        must(answer?.status === 400, `a job without ${without} was answered with ${described(answer)}`);
      }
    },
  },
  {
    name: 'instance',
    rule: 'a job for another instance is refused with 409, which names the right one',
    async check(probe) {
      const answer = await probe.refusalOf(probe.post(0, probe.nextToken(), { instance: ANOTHER_INSTANCE }));
      must(isConflict(answer, 'instance'), `a job for another instance was answered with ${described(answer)}`);
      const named = memberOf(answer.body, 'instance');
      must(named === probe.instance, `the 409 names the instance ${String(named)}, and /ready ${probe.instance}`);
    },
  },
  {
    name: 'slot',
    rule: 'a job for a slot that the worker does not have is refused with 409, which names the number of slots',
    async check(probe) {
      const answer = await probe.refusalOf(probe.post(probe.slots, probe.nextToken()));
      must(isConflict(answer, 'slot'), `a job for slot ${probe.slots} was answered with ${described(answer)}`);
      must(memberOf(answer.body, 'slots') === probe.slots, 'the 409 does not name the number of slots');
    },
  },
  {
    name: 'token',
    rule: 'a token that is not above the newest of its slot is refused with 409, which names the newest',
    async check(probe) {
      const { token } = await runShortly(probe);
      for (const [what, stale] of [
        ['the same token', token],
        ['an older token', token - 1],
      ] as const) {
        const answer = await probe.refusalOf(probe.post(0, stale));
        must(isConflict(answer, 'token'), `${what} as the newest was answered with ${described(answer)}`);
        const newest = memberOf(answer.body, 'newest');
        must(newest === token, `the 409 names ${String(newest)} as the newest token, and it is ${token}`);
      }
    },
  },
  {
    name: 'slots-apart',
    rule: 'tokens rise for each slot by itself',
    skipped: ({ slots }) => (slots < 2 ? 'the worker has one slot' : undefined),
    async check(probe) {
      const older = probe.nextToken();
      await runShortly(probe, 0);
      const job = probe.post(1, older, { deadlineMs: SHORT_MS });
      const answer = await probe.refusalOf(job);
      must(
        !isConflict(answer, 'token'),
        'a job was refused since its token is older than one of another slot, which says nothing about its own',
      );
    },
  },
];

/** Rules about how a job ends. */
export const ENDING_RULES: readonly WorkerRule[] = [
  {
    name: 'ended',
    rule: 'a job is answered when it has ended, not before',
    async check(probe) {
      for (const end of ['deadline', 'cancel'] as const) {
        const job = await probe.start(0, end === 'deadline' ? { deadlineMs: DEADLINE_MS } : {});
        if (end === 'cancel') await probe.cancel(job.slot, job.token);
        const answer = await probe.stopOf(job, DEADLINE_MS);
        const isListed = answer !== undefined && (await probe.isListed(job));
        must(!isListed, `after its ${end}, a job was answered while GET /jobs still listed it`);
        job.close();
        await probe.stops(job);
      }
    },
  },
  {
    name: 'deadline',
    rule: `a job stops at its ${DEADLINE} and is answered with 504`,
    async check(probe) {
      const job = await probe.start(0, { deadlineMs: DEADLINE_MS });
      const answer = await probe.stopOf(job, DEADLINE_MS);
      must(answer !== undefined, `a job went on for ${probe.stopWithinMs} ms after its deadline`);
      must(answer.status === 504, `a job whose deadline passed was answered with ${described(answer)}`);
    },
  },
  {
    name: 'disconnect',
    rule: 'a job stops when the connection of its request ends',
    async check(probe) {
      const job = await probe.start();
      job.close();
      must(await probe.stops(job), `a job went on for ${probe.stopWithinMs} ms after its connection had ended`);
    },
  },
];

/** Rules about a newer job for a slot that is in use: its holder was stopped, or its messages were lost. */
export const SUCCESSION_RULES: readonly WorkerRule[] = [
  {
    name: 'busy',
    rule: 'while a job runs, a newer one for its slot is answered with 503 and Retry-After',
    async check(probe) {
      const { slot } = await probe.start();
      const answer = await probe.refusalOf(probe.post(slot, probe.nextToken()));
      must(answer?.status === 503, `a second job for a busy slot was answered with ${described(answer)}`);
      must(retryAfterOf(answer.headers) !== undefined, 'the 503 has no Retry-After in seconds');
      must(memberOf(answer.body, 'reason') === 'busy', 'the 503 does not say "reason": "busy"');
    },
  },
  {
    name: 'newer-stops-older',
    rule: 'a newer token for a busy slot stops the job that runs there',
    async check(probe) {
      const job = await probe.start();
      await probe.refusalOf(probe.post(job.slot, probe.nextToken()));
      must(await probe.stops(job), `the older job went on for ${probe.stopWithinMs} ms`);
    },
  },
  {
    name: 'newer-starts',
    rule: 'a newer job that was answered with 503 starts with the same token when the older one has ended',
    async check(probe) {
      const older = await probe.start();
      const token = probe.nextToken();
      const first = await probe.refusalOf(probe.post(older.slot, token));
      // That it must be 503 is a rule of its own.
      if (first?.status !== 503) return;
      await probe.cancel(older.slot, older.token);
      older.close();
      await probe.stops(older);
      const answer = await probe.refusalOf(probe.post(older.slot, token, { deadlineMs: SHORT_MS }));
      must(!isConflict(answer, 'token'), 'the newer job was refused because of its own first attempt');
    },
  },
  {
    name: 'announced',
    rule: 'once a newer job was answered with 503, no older one starts in its slot',
    async check(probe) {
      const job = await probe.start();
      const between = probe.nextToken();
      const announced = await probe.refusalOf(probe.post(job.slot, probe.nextToken()));
      if (announced?.status !== 503) return;
      await probe.cancel(job.slot, job.token);
      job.close();
      await probe.stops(job);
      const answer = await probe.refusalOf(probe.post(job.slot, between));
      must(isConflict(answer, 'token'), `a job older than an announced one was answered with ${described(answer)}`);
    },
  },
];
