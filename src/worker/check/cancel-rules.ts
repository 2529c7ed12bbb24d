import { memberOf } from '../contract.js';
import { must, type WorkerRule } from './rule.js';
import { described } from './worker-probe.js';

/** Rules about `DELETE /jobs/{slot}/{token}`. */
export const CANCEL_RULES: readonly WorkerRule[] = [
  {
    name: 'cancel',
    rule: 'a cancelled job stops, and its own request is answered with 409',
    async check(probe) {
      const job = await probe.start();
      const cancelled = await probe.cancel(job.slot, job.token);
      must([200, 202].includes(cancelled.status), `the cancel was answered with ${described(cancelled)}`);
      must(await probe.stops(job), `the job went on for ${probe.stopWithinMs} ms after it was cancelled`);
      const answer = await probe.stopOf(job);
      must(
        answer?.status === 409 && memberOf(answer.body, 'reason') === 'cancelled',
        `the request of the cancelled job was answered with ${described(answer)}`,
      );
    },
  },
  {
    name: 'cancel-state',
    rule: 'a cancel is answered with 202 "ending" while its job runs, and with 200 "gone" when it does not',
    async check(probe) {
      const job = await probe.start();
      const { status, body } = await probe.cancel(job.slot, job.token);
      const state = memberOf(body, 'state');
      must(
        (status === 202 && state === 'ending') || (status === 200 && state === 'gone'),
        `the cancel was answered with ${status} and the state ${String(state)}`,
      );
      if (status === 200) must(!(await probe.isListed(job)), 'the answer was "gone" while GET /jobs listed the job');
      await probe.stops(job);
      job.close();
      await job.answer;
    },
  },
  {
    name: 'cancel-repeated',
    rule: 'a cancel may be repeated, and may name a job that never was',
    async check(probe) {
      const job = await probe.start();
      await probe.cancel(job.slot, job.token);
      job.close();
      await probe.stops(job);
      for (const [what, token] of [
        ['a second cancel', job.token],
        ['a cancel of a job that never was', probe.nextToken()],
      ] as const) {
        const answer = await probe.cancel(job.slot, token);
        must(answer.status === 200 || answer.status === 202, `${what} was answered with ${described(answer)}`);
      }
    },
  },
  {
    name: 'cancel-first',
    rule: 'a cancel that arrives before its job keeps the job from starting',
    async check(probe) {
      const token = probe.nextToken();
      await probe.cancel(0, token);
      const answer = await probe.refusalOf(probe.post(0, token));
      must(answer?.status === 409, `a job that arrived after its cancel was answered with ${described(answer)}`);
    },
  },
  {
    name: 'cancel-older',
    rule: 'a cancel with an older token does not stop a newer job',
    async check(probe) {
      const older = probe.nextToken();
      const job = await probe.start();
      await probe.cancel(job.slot, older);
      must(!(await probe.stops(job)), 'a cancel of an older job stopped the newer one');
    },
  },
  {
    name: 'cancel-instance',
    rule: 'a cancel for another instance is refused with 409, and stops nothing',
    async check(probe) {
      const job = await probe.start();
      const answer = await probe.cancel(job.slot, job.token, 'another-instance');
      must(answer.status === 409, `a cancel for another instance was answered with ${described(answer)}`);
      must(!(await probe.stops(job)), 'a cancel for another instance stopped the job');
    },
  },
];
