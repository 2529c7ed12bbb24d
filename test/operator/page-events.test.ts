import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { History } from '../../src/operator/history.js';
import { type EventsSource, PageEvents } from '../../src/operator/page-events.js';
import type { PageSnapshot } from '../../src/operator/page-snapshot.js';
import { testExchange } from '../exchange-fixture.js';

function source(changes: Partial<EventsSource>): EventsSource {
  return {
    history: new History(Date.now),
    snapshot: async () => ({ at: 1 }) as PageSnapshot,
    maxStreams: 1,
    interval: 1000,
    maxAge: 60_000,
    patience: 60_000,
    ...changes,
  };
}

function opened(events: PageEvents): Readable {
  const { stream } = events.reply(testExchange().exchange);
  if (stream === undefined) throw new Error('no stream');
  return stream();
}

it.each([
  ['after its time', { maxAge: 10, patience: 10 }, () => undefined],
  ['when the service stops', { patience: 10 }, (events: PageEvents) => events.close()],
])('a stream whose client reads nothing is cut off %s', async (_when, changes, act) => {
  const events = new PageEvents(source(changes));
  const stream = opened(events);
  act(events);
  expect(events.isFull).toBe(true);
  // Its timers do not keep a process alive.
  const alive = setInterval(() => undefined, 1000);
  await once(stream, 'close');
  clearInterval(alive);
  expect(stream.destroyed).toBe(true);
  expect(opened(events).destroyed).toBe(false);
});

it('a stream whose client reads ends in order after its time', async () => {
  const events = new PageEvents(source({ maxAge: 10 }));
  const text = Buffer.concat(await opened(events).toArray()).toString();
  expect(text).toBe('event: state\ndata: {"snapshot":{"at":1},"buckets":[]}\n\n');
  expect(events.isFull).toBe(false);
});

it('a stream that is never read gives its place back', () => {
  const events = new PageEvents(source({}));
  const { exchange } = testExchange();
  events.reply(exchange);
  expect(events.isFull).toBe(true);
  exchange.abort();
  expect(events.isFull).toBe(false);
});

it('a stream that is opened after its client has left is closed at once, and frees its place once', () => {
  const events = new PageEvents(source({}));
  const { exchange } = testExchange();
  const { stream } = events.reply(exchange);
  exchange.abort();
  const late = stream?.();
  expect(late?.destroyed).toBe(true);
  events.reply(testExchange().exchange);
  expect(events.isFull).toBe(true);
});

it('a snapshot that takes long is not asked for again meanwhile', async () => {
  let asked = 0;
  const events = new PageEvents(
    source({
      interval: 5,
      maxStreams: 2,
      snapshot: () => {
        asked++;
        return new Promise(() => undefined);
      },
    }),
  );
  const streams = [opened(events), opened(events)];
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(asked).toBe(1);
  for (const stream of streams) stream.destroy();
});
