import type { Duration } from '../../core/duration.js';
import { milliseconds } from '../../core/duration.js';
import { badOption, callback, checkOptionNames, type OptionNames, text } from '../../core/option.js';
import { baseUrl, requestPath } from '../worker-url.js';
import { ACCOUNT_RULES } from './account-rules.js';
import { CANCEL_RULES } from './cancel-rules.js';
import { ESSENTIAL_RULES } from './essential-rules.js';
import { ENDING_RULES, NAMING_RULES, SUCCESSION_RULES } from './job-rules.js';
import { must, type WorkerRule } from './rule.js';
import { RuleBroken, WorkerProbe } from './worker-probe.js';

/** Options of `checkWorker`. */
export interface CheckWorkerOptions {
  /** The worker's URL, such as `http://127.0.0.1:8090`. The worker must be idle. */
  readonly url: string;
  /** The path of a job. Default `/generate/text`. */
  readonly path?: string | undefined;
  /** The body of a job that takes at least a second longer than `stopWithin`. Default a slow prompt of the Point-E stand-in. */
  readonly body?: string | Uint8Array | undefined;
  /** The type of the body. Default `application/json`. */
  readonly contentType?: string | undefined;
  /** More headers of a job. Default none. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** How soon a job must have ended after it was told to stop. Default `'2s'`. */
  readonly stopWithin?: Duration | undefined;
  /** The instance that the worker had before it was started again. With it, it is checked that the worker has another one now. */
  readonly previousInstance?: string | undefined;
  /** Receives each result when it is there. */
  readonly onResult?: ((result: WorkerRuleResult) => void) | undefined;
}

/** What was found about one rule of the worker contract. */
export interface WorkerRuleResult {
  readonly name: string;
  /** What a worker must do. */
  readonly rule: string;
  readonly kind: 'held' | 'broken' | 'skipped';
  /** What the worker did instead, or why the rule was not checked. Empty if it holds. */
  readonly reason: string;
}

/** What `checkWorker` found. */
export interface WorkerReport {
  /** Whether no rule is broken. */
  readonly conforms: boolean;
  /** The worker's instance, for `previousInstance` after a restart. */
  readonly instance: string;
  readonly results: readonly WorkerRuleResult[];
}

const OPTIONS: OptionNames<CheckWorkerOptions> = {
  url: true,
  path: true,
  body: true,
  contentType: true,
  headers: true,
  stopWithin: true,
  previousInstance: true,
  onResult: true,
};

const SLOW_PROMPT = '{"prompt":"[slow] a red sports car","grid_size":32}';
/** A job that ends by itself at nearly the moment of a check would let a rule hold by chance. */
const SPARE_MS = 500;
const CLEAR_WITHIN_MS = 30_000;

const RULES = [...NAMING_RULES, ...ENDING_RULES, ...SUCCESSION_RULES, ...CANCEL_RULES, ...ACCOUNT_RULES];

/**
 * Checks a worker against the worker contract, by running jobs on it: about one for each rule. No other gateway may use the
 * worker meanwhile. `npx gatewarden check-worker` prints the same.
 *
 * ```ts
 * const { conforms } = await checkWorker({ url: 'http://127.0.0.1:8090' })
 * ```
 * @throws OptionError
 */
export async function checkWorker(options: CheckWorkerOptions): Promise<WorkerReport> {
  checkOptionNames('checkWorker', options, OPTIONS);
  const { path = '/generate/text', contentType = 'application/json', body = SLOW_PROMPT, headers = {} } = options;
  const { previousInstance } = options;
  const url = baseUrl('checkWorker', options.url);
  requestPath('checkWorker', path);
  text('checkWorker', 'contentType', contentType);
  const stopWithin = milliseconds('checkWorker', 'stopWithin', options.stopWithin ?? '2s', 600_000);
  const onResult = callback('checkWorker', 'onResult', options.onResult);
  const probe = new WorkerProbe(url, { path, contentType, body, headers }, stopWithin);
  const results: WorkerRuleResult[] = [];

  const tell = (result: WorkerRuleResult): void => {
    results.push(result);
    onResult?.(result);
  };
  let missing: string | undefined;
  for (const rule of ESSENTIAL_RULES) {
    const result = await resultOf(rule, probe, missing);
    tell(result);
    if (result.kind === 'broken' && rule.name !== 'gpu-seconds') missing ??= `it needs the rule "${rule.name}"`;
  }
  if (probe.jobMs !== undefined && probe.jobMs < stopWithin + SPARE_MS) {
    const took = `the job took ${Math.round(probe.jobMs)} ms`;
    const remedy = `${took}; give one that takes at least ${stopWithin + SPARE_MS} ms, or a shorter "stopWithin"`;
    throw badOption('checkWorker', 'body', 'must be a longer job', undefined, remedy);
  }
  for (const rule of previousInstance === undefined ? RULES : [...RULES, restartRule(previousInstance)]) {
    tell(await resultOf(rule, probe, missing));
  }
  return { conforms: results.every(({ kind }) => kind !== 'broken'), instance: probe.instance, results };
}

function restartRule(previousInstance: string): WorkerRule {
  return {
    name: 'restart',
    rule: 'the instance is another one after every start of the worker',
    async check({ instance }) {
      must(instance !== previousInstance, `the instance is still ${instance}`);
    },
  };
}

async function resultOf(
  { name, rule, skipped, check }: WorkerRule,
  probe: WorkerProbe,
  missing: string | undefined,
): Promise<WorkerRuleResult> {
  const why = missing ?? skipped?.(probe);
  if (why !== undefined) return { name, rule, kind: 'skipped', reason: why };
  try {
    await check(probe);
    return { name, rule, kind: 'held', reason: '' };
  } catch (error) {
    if (!(error instanceof RuleBroken)) throw error;
    return { name, rule, kind: 'broken', reason: error.message };
  } finally {
    await probe.clear(CLEAR_WITHIN_MS);
  }
}
