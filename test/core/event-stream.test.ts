import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { eventStreamReply } from '../../src/core/event-stream.js';
import type { Exchange } from '../../src/core/exchange.js';
import { testExchange } from '../exchange-fixture.js';

function scene() {
  const { exchange } = testExchange();
  const seen = { opened: 0, unread: 0 };
  const open = () => {
    seen.opened++;
    return new Readable({ read: () => undefined });
  };
  const reply = eventStreamReply(exchange, open, () => void seen.unread++);
  return { exchange, seen, reply };
}

describe('a reply of events', () => {
  it.each<[string, (exchange: Exchange) => void]>([
    ['the client leaves', (exchange) => exchange.abort()],
    ['it was HEAD', (exchange) => exchange.end({ kind: 'completed', status: 200 })],
  ])('gives its place back if it is never read: %s', (_what, end) => {
    const { exchange, seen } = scene();
    end(exchange);
    expect(seen).toEqual({ opened: 0, unread: 1 });
  });

  it('ends its stream when the client leaves', () => {
    const { exchange, seen, reply } = scene();
    const stream = reply.stream?.();
    exchange.abort();
    expect([stream?.destroyed, seen]).toEqual([true, { opened: 1, unread: 0 }]);
  });

  it('goes on if the exchange is completed before its stream is read, as off Node', () => {
    const { exchange, seen, reply } = scene();
    const stream = reply.stream?.();
    exchange.end({ kind: 'completed', status: 200 });
    expect([stream?.destroyed, seen]).toEqual([false, { opened: 1, unread: 0 }]);
  });
});
