import { mkdirSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DurableLog } from '../../../src/limit/sqlite/durable-log.js';
import { until } from '../../redis/processes.js';
import { makeFolder } from './describe.js';

let folder: ReturnType<typeof makeFolder>;
let failures: unknown[];
let log: DurableLog;

beforeEach(() => {
  folder = makeFolder();
  failures = [];
  log = new DurableLog(folder.path, (error) => failures.push(error), 1);
});
afterEach(() => {
  log.close();
  folder.remove();
});

it('brings the log of changes onto the disk after a commit, once for several', async () => {
  writeFileSync(`${folder.path}-wal`, 'changes');
  for (let i = 0; i < 5; i++) log.committed();
  await until('the file was synchronized', () => log.synchronized === 1);
  log.committed();
  await until('the file was synchronized again', () => log.synchronized === 2);
  expect(failures).toEqual([]);
});

it('needs none if SQLite has moved everything into the file', async () => {
  log.committed();
  await until('it was done', () => log.synchronized === 1);
  expect(failures).toEqual([]);
});

it('brings what was committed before it was closed onto the disk at once', async () => {
  const slow = new DurableLog(folder.path, (error) => failures.push(error), 600_000);
  writeFileSync(`${folder.path}-wal`, 'changes');
  slow.close();
  slow.committed();
  slow.close();
  await until('the file was synchronized', () => slow.synchronized === 1);
  slow.close();
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(slow.synchronized).toBe(1);
  expect(failures).toEqual([]);
});

it('reports that it could not', async () => {
  mkdirSync(`${folder.path}-wal`);
  log.committed();
  await until('the failure was reported', () => failures.length === 1);
  expect(failures).toMatchObject([{ code: 'EISDIR' }]);
  expect(log.synchronized).toBe(0);
});
