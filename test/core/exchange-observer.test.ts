import { describe, expect, it, vi } from 'vitest';
import type { Exchange } from '../../src/core/exchange.js';
import { type ExchangeObserver, observe } from '../../src/core/exchange-observer.js';
import type { Guard } from '../../src/core/guard.js';
import { problem } from '../../src/core/problem.js';
import { refuse } from '../../src/core/reply.js';
import { INTERNAL_ERROR, sequence } from '../../src/core/sequence.js';
import { testExchange } from '../exchange-fixture.js';

type Ended = [guard: string, code: string | undefined];

/** An observer that keeps which guard has ended, and with which code. */
function keeper() {
  const ended: Ended[] = [];
  const durations: number[] = [];
  const observer: ExchangeObserver<Exchange> = {
    guardEnded(_exchange, guard, duration, reply) {
      ended.push([guard, reply?.problem?.code]);
      durations.push(duration);
    },
  };
  const begin: Guard = function begin(exchange) {
    observe(exchange, observer);
    return undefined;
  };
  return { ended, durations, observer, begin };
}

const passes: Guard = function passes() {
  return undefined;
};
const passesLater: Guard = async function passesLater() {
  return undefined;
};
const refuses: Guard = function refuses() {
  return refuse(problem('scope-insufficient'));
};
const refusesLater: Guard = async function refusesLater() {
  return refuse(problem('scope-insufficient'));
};

describe('an observer of an exchange', () => {
  it('receives every guard that runs after it was added, with its reply, and those of inner sequences once', async () => {
    const { ended, durations, begin } = keeper();
    const { exchange } = testExchange();
    await sequence(passes, begin, passes, sequence(passesLater, sequence(passes)), refusesLater, passes)(exchange);
    expect(ended).toEqual([
      ['passes', undefined],
      ['passesLater', undefined],
      ['passes', undefined],
      ['refusesLater', 'scope-insufficient'],
    ]);
    for (const duration of durations) expect(duration).toBeGreaterThanOrEqual(0);
  });

  it('receives the guards of a later call for the same exchange', () => {
    const { ended, begin } = keeper();
    const { exchange } = testExchange();
    sequence(begin)(exchange);
    sequence(refuses)(exchange);
    expect(ended).toEqual([['refuses', 'scope-insufficient']]);
  });

  it.each<[string, Guard]>([
    [
      'throws',
      () => {
        throw new Error('a fault');
      },
    ],
    ['rejects', () => Promise.reject(new Error('a fault'))],
    ['returns what is no reply', () => true as never],
    ['promises what is no reply', async () => 'yes' as never],
  ])('receives the answer to the fault of a guard that %s', async (_does, act) => {
    const { ended, begin } = keeper();
    const { exchange, faults } = testExchange();
    function broken(subject: Exchange): ReturnType<Guard> {
      return act(subject);
    }
    expect(await sequence(begin, broken)(exchange)).toBe(INTERNAL_ERROR);
    expect(ended).toEqual([['broken', 'internal-error']]);
    expect(faults).toHaveLength(1);
  });

  it('changes nothing with what it throws, which is a fault', async () => {
    const failure = new Error('the meter is broken');
    const { ended, begin } = keeper();
    const { exchange, faults } = testExchange();
    const failing: ExchangeObserver<Exchange> = {
      guardEnded() {
        throw failure;
      },
    };
    const add: Guard = (subject) => observe(subject, failing) as undefined;
    const reply = await sequence(add, begin, passesLater, refuses)(exchange);
    expect(reply?.problem?.code).toBe('scope-insufficient');
    expect(ended).toEqual([
      ['passesLater', undefined],
      ['refuses', 'scope-insufficient'],
    ]);
    expect(faults).toEqual([failure, failure, failure]);
  });

  it('is called as a method, and receives nothing that it does not want', () => {
    class Counter implements ExchangeObserver<Exchange> {
      waits = 0;
      waiting(_exchange: Exchange, change: number): void {
        this.waits += change;
      }
    }
    const counter = new Counter();
    const { exchange } = testExchange();
    observe(exchange, counter);
    expect(exchange.observer?.guardEnded).toBeUndefined();
    exchange.observer?.waiting?.(exchange, 1);
    expect(counter.waits).toBe(1);
  });

  it('receives everything once, however often it is added', () => {
    const [first, second] = [keeper(), keeper()];
    const { exchange } = testExchange();
    for (const { observer } of [first, second, first, second]) observe(exchange, observer);
    sequence(passes)(exchange);
    expect([first.ended, second.ended]).toEqual([[['passes', undefined]], [['passes', undefined]]]);
  });

  it('shares one relay among all exchanges, and adds another observer without a change of the first', () => {
    const [first, second] = [keeper(), keeper()];
    const [one, other] = [testExchange().exchange, testExchange().exchange];
    for (const exchange of [one, other]) {
      observe(exchange, first.observer);
      observe(exchange, second.observer);
    }
    expect(one.observer).toBe(other.observer);
    one.observer?.guardEnded?.(one, 'limit', 1, undefined);
    expect([first.ended, second.ended]).toEqual([[['limit', undefined]], [['limit', undefined]]]);
  });

  it('costs no look at the clock where there is none', async () => {
    const now = vi.spyOn(performance, 'now');
    try {
      await sequence(passes, passesLater, refuses)(testExchange().exchange);
      expect(now).not.toHaveBeenCalled();
    } finally {
      now.mockRestore();
    }
  });
});
