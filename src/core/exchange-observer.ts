import type { Reply } from './reply.js';

/** What a store of `limit` was asked to do. */
export type StoreOperation = 'admit' | 'settle' | 'renew' | 'release';

/** How a job at a worker ended. */
export type JobEnd = 'completed' | 'failed' | 'aborted';

/**
 * Receives what happens on the way of an exchange, for meters. Lengths of time are in milliseconds. An observer must be
 * cheap. What it throws is a fault and changes nothing. An exchange without an observer costs one check at each place.
 */
export interface ExchangeObserver<Subject> {
  /** A guard has answered, or let the exchange go on. `guard` is the name of its function. */
  guardEnded?(exchange: Subject, guard: string, duration: number, reply: Reply | undefined): void;
  /** A store of `limit` has answered, or has failed with `error`. */
  storeAnswered?(exchange: Subject, operation: StoreOperation, duration: number, error: unknown): void;
  /** The exchange begins (1) or stops (-1) to wait in a queue. */
  waiting?(exchange: Subject, change: 1 | -1): void;
  /** The exchange holds one slot of a policy more, or one less. */
  held?(exchange: Subject, policy: string, change: 1 | -1): void;
  /** GPU time was used. Each millisecond is reported once, however many policies count it. */
  gpuTime?(exchange: Subject, milliseconds: number): void;
  /** A worker has got a job. */
  jobStarted?(exchange: Subject): void;
  /** A job at a worker has ended after `duration`. */
  jobEnded?(exchange: Subject, end: JobEnd, duration: number): void;
}

type Notice = keyof ExchangeObserver<unknown>;

/** What an observer needs of an exchange. */
interface Observed<Subject> {
  observer: ExchangeObserver<Subject> | undefined;
  fault(error: unknown): void;
}

/** Adds an observer to an exchange, unless it is there already. Earlier ones still receive everything. */
export function observe<Subject extends Observed<Subject>>(
  exchange: Subject,
  observer: ExchangeObserver<Subject>,
): void {
  if (!isObservedBy(exchange, observer)) exchange.observer = relay(exchange.observer, observer);
}

/** Whether an observer was added to an exchange, or to the one that it comes from. */
export function isObservedBy<Subject extends Observed<Subject>>(
  exchange: Subject,
  observer: ExchangeObserver<Subject>,
): boolean {
  for (let part: AnyObserver | undefined = exchange.observer; part !== undefined; ) {
    const link: RelayLink | undefined = links.get(part);
    if (link?.observer === observer) return true;
    part = link?.earlier;
  }
  return false;
}

const NOTICES: readonly Notice[] = [
  'guardEnded',
  'storeAnswered',
  'waiting',
  'held',
  'gpuTime',
  'jobStarted',
  'jobEnded',
];

type AnyObserver = ExchangeObserver<never>;

/** By the last observer, and then by what was there before it. */
const relays = new WeakMap<AnyObserver, WeakMap<AnyObserver, AnyObserver>>();

/** What a relay was made of. */
interface RelayLink {
  readonly earlier: AnyObserver;
  readonly observer: AnyObserver;
}

const links = new WeakMap<AnyObserver, RelayLink>();
/** In place of an earlier observer, if there is none. */
const NONE: AnyObserver = {};

/** Made once for each combination, since the same meters observe every exchange of a route. */
function relay<Subject extends Observed<Subject>>(
  earlier: ExchangeObserver<Subject> | undefined,
  observer: ExchangeObserver<Subject>,
): ExchangeObserver<Subject> {
  let known = relays.get(observer);
  if (known === undefined) {
    known = new WeakMap();
    relays.set(observer, known);
  }
  let made = known.get(earlier ?? NONE);
  if (made === undefined) {
    made = newRelay(earlier ?? NONE, observer);
    known.set(earlier ?? NONE, made);
    links.set(made, { earlier: earlier ?? NONE, observer });
  }
  return made as ExchangeObserver<Subject>;
}

/** Has only the notices that one of the two wants, so that nothing is measured that neither of them wants. */
function newRelay(earlier: AnyObserver, observer: AnyObserver): AnyObserver {
  const made: Partial<Record<Notice, (exchange: Observed<never>, ...rest: never[]) => void>> = {};
  for (const notice of NOTICES) {
    const before = earlier[notice]?.bind(earlier) as ((...received: unknown[]) => void) | undefined;
    const receive = observer[notice]?.bind(observer) as ((...received: unknown[]) => void) | undefined;
    if (receive === undefined) {
      if (before !== undefined) made[notice] = before;
      continue;
    }
    made[notice] = (exchange, ...rest) => {
      // What an earlier relay passes on is guarded by that.
      before?.(exchange, ...rest);
      try {
        receive(exchange, ...rest);
      } catch (error) {
        exchange.fault(error);
      }
    };
  }
  return made as AnyObserver;
}
