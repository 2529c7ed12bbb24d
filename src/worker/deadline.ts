import { checkExchange } from '../core/check-exchange.js';
import type { Deadline } from '../core/deadline.js';
import { type Duration, milliseconds } from '../core/duration.js';
import type { Guard } from '../core/guard.js';
import { named } from '../core/guard-name.js';
import { badOption, checkOptionNames, type OptionNames } from '../core/option.js';
import { problem } from '../core/problem.js';
import { refuse } from '../core/reply.js';
import { DEADLINE } from './contract.js';

/** Options of `deadline`. */
export interface DeadlineOptions {
  /** The longest that a job may take, from this guard on. */
  readonly max: Duration;
  /** The request header in which a client may ask for less, in milliseconds. Default `X-Deadline-Ms`. */
  readonly header?: string | undefined;
}

const OPTIONS: OptionNames<DeadlineOptions> = { max: true, header: true };
/** What a timer can wait. */
export const MAX_DEADLINE = 2_147_000_000;
const MALFORMED = refuse(problem('deadline-malformed'));

/**
 * Sets when the job of this request must be done. A client may ask for less time, never for more. A request that asks for
 * something else than a whole number of milliseconds is refused with 400 `deadline-malformed`. The time counts from this
 * guard on, so put it after guards that wait for the client, such as `upload`.
 *
 * Writes `exchange.deadline`, which `worker.run` keeps.
 *
 * ```ts
 * app.post('/generate', guard(deadline({ max: '120s' })), handler)
 * ```
 * @throws OptionError
 */
export function deadline(options: DeadlineOptions): Guard {
  checkOptionNames('deadline', options, OPTIONS);
  const max = milliseconds('deadline', 'max', options.max, MAX_DEADLINE);
  const { header = DEADLINE } = options;
  if (typeof header !== 'string' || !/^[!#$%&'*+.^_`|~\w-]+$/.test(header)) {
    throw badOption('deadline', 'header', 'must be the name of a header', header);
  }
  const name = header.toLowerCase();
  return named('deadline', (exchange) => {
    checkExchange('deadline', exchange);
    const [asked, ...more] = exchange.request.fieldLines(name);
    if (asked === undefined) {
      exchange.deadline = deadlineIn(max, false);
      return undefined;
    }
    if (more.length > 0 || !/^\d{1,15}$/.test(asked) || Number(asked) === 0) return MALFORMED;
    exchange.deadline = deadlineIn(Math.min(max, Number(asked)), Number(asked) < max);
    return undefined;
  });
}

function deadlineIn(duration: number, isShortened: boolean): Deadline {
  const at = performance.now() + duration;
  return { duration, isShortened, remaining: () => Math.max(0, Math.ceil(at - performance.now())) };
}
