import { describe, expect, it } from 'vitest';
import { describeRedis } from './describe.js';
import { isAlive, until } from './processes.js';
import { prefixesOf, useClient, useRedis } from './suite.js';

let pid = 0;
const closed: string[] = [];

describeRedis('a server of a suite', () => {
  const server = useRedis();
  const client = useClient(async () => {
    const opened = server.client();
    return { client: opened, close: () => void closed.push(opened.status) };
  });
  const early = [() => server.port, client].map((use) => {
    try {
      return use();
    } catch (error) {
      return String(error);
    }
  });

  it('runs while the tests of the suite run', async () => {
    expect(await client().set('key', 'value')).toBe('OK');
    expect(await server.cli('GET', 'key')).toBe('value');
    pid = server.pid;
  });

  it('cannot be used before', () => {
    expect(early).toEqual([
      'Error: port is used before the suite has begun',
      'Error: the client is used before the suite has begun',
    ]);
  });
});

describeRedis('a suite after it', () => {
  it('finds its clients closed first, and then its process gone', async () => {
    expect(closed).toEqual(['ready']);
    await until('it is gone', () => !isAlive(pid));
  });
});

describe('prefixes', () => {
  it('are different for each call, subject and process', () => {
    const [one, other] = [prefixesOf('one'), prefixesOf('other')];
    const made = [one(), one(), other(), other()];
    expect(new Set(made).size).toBe(4);
    for (const prefix of made) expect(prefix).toMatch(new RegExp(`^(one|other)-${process.pid}-\\d+:$`));
  });
});
