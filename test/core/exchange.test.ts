import { afterEach, describe, expect, it, vi } from 'vitest';
import { Exchange } from '../../src/core/exchange.js';
import { OptionError } from '../../src/core/option.js';
import type { Outcome } from '../../src/core/outcome.js';
import { problem } from '../../src/core/problem.js';
import { refuse } from '../../src/core/reply.js';
import { reportFaults } from '../../src/core/report-faults.js';
import { TestResponseHeaders, testExchange } from '../exchange-fixture.js';

const COMPLETED: Outcome = { kind: 'completed', status: 200 };
const REFUSED: Outcome = { kind: 'refused', status: 429, code: 'quota-exceeded' };
const ABORTED: Outcome = { kind: 'aborted' };

/** Lets every promise that is settled already run its reactions. */
const settledPromises = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('settling', () => {
  it.each([
    [COMPLETED, [REFUSED, ABORTED]],
    [REFUSED, [COMPLETED, ABORTED]],
    [ABORTED, [COMPLETED, REFUSED]],
  ])('happens once: %j stands, whatever follows', (first, rest) => {
    const { exchange } = testExchange();
    const seen: Outcome[] = [];
    exchange.onEnd((outcome) => seen.push(outcome));
    expect(exchange.outcome).toBeUndefined();
    for (const outcome of [first, ...rest]) exchange.end(outcome);
    exchange.abort();
    expect(exchange.outcome).toEqual(first);
    expect(seen).toEqual([first]);
  });

  it('runs hooks in reverse order of registration, with outcome and exchange', () => {
    const { exchange } = testExchange();
    const seen: unknown[] = [];
    for (const name of ['a', 'b', 'c']) exchange.onEnd((outcome, of) => seen.push([name, outcome, of === exchange]));
    exchange.end(REFUSED);
    expect(seen).toEqual([
      ['c', REFUSED, true],
      ['b', REFUSED, true],
      ['a', REFUSED, true],
    ]);
  });

  it('runs a hook that comes late at once', () => {
    const { exchange, faults } = testExchange();
    exchange.end(COMPLETED);
    const seen: Outcome[] = [];
    exchange.onEnd((outcome) => seen.push(outcome));
    expect(seen).toEqual([COMPLETED]);
    exchange.onEnd(() => {
      throw new Error('late');
    });
    expect(faults).toEqual([new Error('late')]);
  });

  it('runs a hook at once that another hook registers, and once only', () => {
    const { exchange } = testExchange();
    const seen: string[] = [];
    exchange.onEnd(() => seen.push('first'));
    exchange.onEnd((outcome) => {
      seen.push('outer');
      exchange.onEnd((inner) => seen.push(inner === outcome ? 'inner' : 'wrong'));
      exchange.end(ABORTED);
    });
    exchange.end(COMPLETED);
    expect(seen).toEqual(['outer', 'inner', 'first']);
    expect(exchange.outcome).toEqual(COMPLETED);
  });

  it('shows the outcome to its hooks on the exchange as well', () => {
    const { exchange } = testExchange();
    let seen: Outcome | undefined;
    exchange.onEnd(() => {
      seen = exchange.outcome;
    });
    exchange.abort();
    expect(seen).toEqual(ABORTED);
  });

  it('reports every hook that fails, and runs the others', async () => {
    const { exchange, faults } = testExchange();
    const ran: string[] = [];
    const sync = new Error('sync');
    const late = new Error('later');
    exchange.onEnd(() => ran.push('a'));
    exchange.onEnd(() => {
      throw sync;
    });
    exchange.onEnd(() => ran.push('b'));
    exchange.onEnd(async () => {
      throw late;
    });
    exchange.onEnd(() => ran.push('c'));
    expect(() => exchange.end(COMPLETED)).not.toThrow();
    expect(ran).toEqual(['c', 'b', 'a']);
    expect(faults).toEqual([sync]);
    await settledPromises();
    expect(faults).toEqual([sync, late]);
  });
});

describe('the signal', () => {
  it('is one, and is not aborted while the exchange goes on', () => {
    const { exchange } = testExchange();
    expect(exchange.signal).toBe(exchange.signal);
    expect(exchange.signal.aborted).toBe(false);
  });

  it('is aborted when the client leaves, before the hooks run', () => {
    const { exchange } = testExchange();
    const { signal } = exchange;
    const seen: unknown[] = [];
    signal.addEventListener('abort', () => seen.push('abort'));
    exchange.onEnd(() => seen.push(signal.aborted));
    exchange.abort();
    exchange.abort();
    expect(seen).toEqual(['abort', true]);
  });

  it('is aborted also when it is first asked for afterwards', () => {
    const { exchange } = testExchange();
    exchange.abort();
    expect(exchange.signal.aborted).toBe(true);
  });

  it.each([[COMPLETED], [REFUSED]])('is left alone by %j', (outcome) => {
    const before = testExchange().exchange;
    const { signal } = before;
    before.end(outcome);
    before.abort();
    expect(signal.aborted).toBe(false);
    const after = testExchange().exchange;
    after.end(outcome);
    expect(after.signal.aborted).toBe(false);
  });
});

describe('response headers', () => {
  it('are set, replaced, and set by default only where there is none', () => {
    const { exchange, headers } = testExchange();
    exchange.set('X-One', 'a');
    exchange.set('X-One', 'b');
    exchange.setDefault('X-One', 'c');
    exchange.setDefault('X-Two', 'd');
    expect(headers.all()).toEqual({ 'X-One': 'b', 'X-Two': 'd' });
  });

  it('are not set by default over an empty one', () => {
    const { exchange, headers } = testExchange();
    headers.set('X-One', '');
    exchange.setDefault('X-One', 'a');
    expect(headers.all()).toEqual({ 'X-One': '' });
  });

  it('grow by a member at a time', () => {
    const { exchange, headers } = testExchange();
    for (const member of ['Origin', 'Accept', 'Cookie']) exchange.append('Vary', member);
    expect(headers.all()).toEqual({ Vary: 'Origin, Accept, Cookie' });
  });
});

describe('a fault', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  const failure = new Error('out of order');

  function plainExchange(): Exchange {
    return new Exchange(testExchange().exchange.request, new TestResponseHeaders());
  }

  it('goes to standard error unless there is another reporter', () => {
    const printed = vi.spyOn(console, 'error').mockReturnValue();
    plainExchange().fault(failure);
    expect(printed.mock.calls).toEqual([['gatewarden:', failure]]);
  });

  it('goes to the reporter that the service names, with its exchange', () => {
    const printed = vi.spyOn(console, 'error').mockReturnValue();
    const exchange = plainExchange();
    const seen: unknown[] = [];
    expect(reportFaults((error, of) => seen.push(error, of))(exchange)).toBeUndefined();
    exchange.fault(failure);
    expect(seen).toEqual([failure, exchange]);
    expect(printed).not.toHaveBeenCalled();
  });

  it('changes nothing when the reporter itself fails, at once or later', async () => {
    const unhandled: unknown[] = [];
    const listener = (error: unknown) => unhandled.push(error);
    process.on('unhandledRejection', listener);
    try {
      for (const reporter of [
        () => {
          throw new Error('reporter');
        },
        () => Promise.reject(new Error('reporter')),
      ]) {
        const exchange = plainExchange();
        reportFaults(reporter)(exchange);
        const ran: string[] = [];
        exchange.onEnd(() => ran.push('a'));
        exchange.onEnd(() => {
          throw failure;
        });
        expect(() => exchange.end(COMPLETED)).not.toThrow();
        expect(ran).toEqual(['a']);
      }
      await settledPromises();
      expect(unhandled).toEqual([]);
    } finally {
      process.off('unhandledRejection', listener);
    }
  });

  it.each([[undefined], [null], ['console'], [{}]])('cannot be sent to %j', (report) => {
    expect(() => reportFaults(report as unknown as () => void)).toThrow(OptionError);
  });
});

describe('refuse', () => {
  it('answers with the status of the problem and the headers given', () => {
    const missing = problem('credentials-missing');
    expect(refuse(missing)).toMatchObject({ status: 401, headers: [], problem: missing });
    expect(refuse(missing, [['Retry-After', '1']]).headers).toEqual([['Retry-After', '1']]);
  });
});
