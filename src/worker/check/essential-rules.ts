import { GPU_SECONDS, gpuTimeOf, INSTANCE, memberOf } from '../contract.js';
import { must, type WorkerRule } from './rule.js';
import { described } from './worker-probe.js';

/** Rules without which no other can be checked. */
export const ESSENTIAL_RULES: readonly WorkerRule[] = [
  {
    name: 'ready',
    rule: 'GET /ready responds with 200, the number of slots and the instance, which every response names',
    async check(probe) {
      const ready = await probe.ready();
      must(ready.status === 200, `GET /ready responded with ${described(ready)}`);
      const [instance, slots] = [memberOf(ready.body, 'instance'), memberOf(ready.body, 'slots')];
      must(typeof instance === 'string' && instance !== '', 'its body has no "instance"');
      must(Number.isInteger(slots) && Number(slots) >= 1, 'its body has no "slots", a whole number of at least 1');
      probe.instance = instance;
      probe.slots = Number(slots);
      probe.keepsEnded = (await probe.ended(0)).status === 200;
      for (const [path, { headers }] of Object.entries({ '/ready': ready, '/jobs': await probe.jobs() })) {
        const named = headers.get(INSTANCE);
        must(named === instance, `the ${INSTANCE} of ${path} is ${named ?? 'missing'}, and the instance ${instance}`);
      }
    },
  },
  {
    name: 'listed',
    rule: 'GET /jobs lists a job while it runs, with its id, slot, token and age',
    async check(probe) {
      const { id, slot, token } = await probe.start();
      const jobs = await probe.list();
      const [job] = jobs;
      must(job !== undefined && jobs.length === 1, `one job runs, and ${jobs.length} are listed`);
      must(job.id === id && job.slot === slot && job.token === token, "the listed id, slot or token is not the job's");
      must(job.ageMs >= 0 && job.ageMs < 60_000, `the job has just started, and its age_ms is ${job.ageMs}`);
    },
  },
  {
    name: 'gpu-seconds',
    rule: `a job that is done is answered with 2xx and ${GPU_SECONDS}, which is not more than it took`,
    async check(probe) {
      const started = performance.now();
      const answer = await (await probe.start()).answer;
      const took = performance.now() - started;
      must(answer !== undefined && answer.status < 300, `the job was answered with ${described(answer)}`);
      probe.jobMs = took;
      const said = answer.headers.get(GPU_SECONDS);
      const used = gpuTimeOf(answer.headers);
      must(used !== undefined, `${GPU_SECONDS} is ${said ?? 'missing'}, and must be a decimal number of seconds`);
      must(used <= took + 1000, `${GPU_SECONDS} is ${said}, and the job took ${Math.round(took)} ms`);
    },
  },
];
