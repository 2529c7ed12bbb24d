import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { memoryOperatorStore } from '../../src/operator/index.js';
import { measure, operatorStoreContract } from '../contracts/operator-store.js';

const STORE = new URL('../../src/operator/memory-operator-store.ts', import.meta.url).href;

let directory: string;
let file: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'gatewarden-operator-'));
  file = join(directory, 'operator.json');
});
afterEach(() => rmSync(directory, { recursive: true }));

operatorStoreContract('memoryOperatorStore', () => memoryOperatorStore());
operatorStoreContract('memoryOperatorStore with a file', () => memoryOperatorStore({ file }));

describe('memoryOperatorStore', () => {
  it('has no room for more than maxEntries, except in place of those that have ended', () => {
    const store = memoryOperatorStore({ maxEntries: 2 });
    store.add(measure({ client: 'a', until: measure().since + 10 }));
    store.add(measure({ client: 'b' }));
    expect(store.add(measure({ client: 'c' }))).toBe('full');
    expect(store.add(measure({ client: 'c', since: measure().since + 10 }))).toBe('added');
    expect(store.list().map(({ client }) => client)).toEqual(['b', 'c']);
  });

  it('finds everything again after a restart, and lets only its own user read the file', () => {
    const store = memoryOperatorStore({ file });
    store.add(measure());
    store.add(measure({ client: 'bob', kind: 'exceeds-quotas', until: measure().since + 3_600_000 }));
    store.remove('suspended', 'nobody');
    expect(memoryOperatorStore({ file }).list()).toEqual(store.list());
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(directory)).toEqual(['operator.json']);
  });

  it.each([
    ['torn', (text: string) => text.slice(0, text.length / 2)],
    ['empty', () => ''],
    ['something else', () => '{"suspended":["alice"]}'],
    ['a measure of an unknown kind', (text: string) => text.replace('suspended', 'banned')],
    ['a measure without a client', (text: string) => text.replace('"client"', '"customer"')],
  ])('does not start without its suspensions if the file is %s', (_what, damage) => {
    memoryOperatorStore({ file }).add(measure());
    const damaged = damage(readFileSync(file, 'utf8'));
    writeFileSync(file, damaged);
    expect(() => memoryOperatorStore({ file })).toThrow(
      `gatewarden: memoryOperatorStore cannot read ${file}, which is damaged or something else; restore it, or move it away`,
    );
    expect(readFileSync(file, 'utf8')).toBe(damaged);
  });

  it('does not do what it cannot write', () => {
    mkdirSync(join(directory, 'removed'));
    const store = memoryOperatorStore({ file: join(directory, 'removed', 'operator.json') });
    rmSync(join(directory, 'removed'), { recursive: true });
    expect(() => store.add(measure())).toThrow('ENOENT');
    expect(store.list()).toEqual([]);
  });

  it.skipIf(process.platform !== 'linux')(
    'keeps the file as it was if the disk takes only a part of the next one',
    () => {
      const program = `
      import { execFileSync } from 'node:child_process';
      import { memoryOperatorStore } from ${JSON.stringify(STORE)};
      const store = memoryOperatorStore({ file: process.argv[1] });
      const add = (client) => store.add({ kind: 'suspended', client, since: 1, until: undefined, by: 'olga' });
      add('alice');
      process.on('SIGXFSZ', () => undefined);
      execFileSync('prlimit', ['--fsize=2048:2048', '--pid=' + process.pid]);
      try { add('b'.repeat(5000)); console.log('added'); } catch (error) { console.log(error.code); }
    `;
      const args = ['--import', 'tsx', '--input-type=module', '-e', program, file];
      expect(execFileSync(process.execPath, args, { encoding: 'utf8' }).trim()).toBe('EFBIG');
      expect(memoryOperatorStore({ file }).list()).toMatchObject([{ client: 'alice' }]);
      expect(readdirSync(directory)).toEqual(['operator.json']);
    },
  );

  it('does not write over what another process has written', () => {
    const [one, other] = [memoryOperatorStore({ file }), memoryOperatorStore({ file })];
    one.add(measure());
    expect(() => other.add(measure({ client: 'bob' }))).toThrow(
      `memoryOperatorStore found ${file} changed by another process; restart this one, or use redisOperatorStore`,
    );
    expect(memoryOperatorStore({ file }).list()).toEqual([measure()]);
  });

  it.each([
    [{ file: '' }, 'gatewarden: memoryOperatorStore "file" must be a non-empty string'],
    [{ maxEntries: 0 }, 'gatewarden: memoryOperatorStore "maxEntries" must be a positive integer, got 0'],
    [{ path: 'x' }, 'gatewarden: memoryOperatorStore has no option "path"'],
  ])('refuses %j', (options, message) => {
    expect(() => memoryOperatorStore(options as never)).toThrow(message);
  });
});
