import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { apiKeys } from '../../../src/auth/api-keys/api-keys.js';
import { digestApiKey } from '../../../src/auth/api-keys/key-digest.js';
import { KEYGEN_HELP, keygen } from '../../../src/auth/api-keys/keygen.js';
import type { ApiKeyRecord } from '../../../src/auth/api-keys/record.js';
import { authenticate } from '../../../src/auth/authenticate.js';
import { ask } from '../../exchange-fixture.js';
import { expectNothingOf, header, NOW } from './key-fixture.js';

const PEPPER = 'Pq8-c4n4ry-p3pp3r-Xz7-9876543210-Vw6-QqQ';

function printed(stdout: string): { key: string; record: ApiKeyRecord } {
  const [key = '', json = '', end, more] = stdout.split('\n');
  expect([end, more]).toEqual(['', undefined]);
  return { key, record: JSON.parse(json) };
}

function run(args: readonly string[], env: Record<string, string> = {}) {
  return keygen(args, env, () => NOW);
}

describe('gatewarden keygen', () => {
  it('prints a key and the record of it, which lets it in', async () => {
    const { exitCode, stdout, stderr } = run([
      ...['--client', 'acme', '--name', 'Acme Inc.', '--scope', 'generate', '--scope=status'],
      ...['--expires', '90d', '--prefix', 'gk_test_'],
    ]);
    expect([exitCode, stderr]).toEqual([0, '']);
    const { key, record } = printed(stdout);
    expect(key).toMatch(/^gk_test_[0-9A-Za-z]{61}$/);
    expect(record).toStrictEqual({
      id: key.slice(8, 20),
      clientId: 'acme',
      name: 'Acme Inc.',
      digests: [{ digest: digestApiKey(key), expiresAt: new Date(NOW + 90 * 86_400_000).toISOString() }],
      scopes: ['generate', 'status'],
      enabled: true,
    });
    const scheme = apiKeys({ keys: [record], prefix: 'gk_test_', now: () => NOW });
    expect((await ask(authenticate(scheme), { headers: [header(key)] })).passed).toBe(true);
  });

  it('needs no arguments', () => {
    const { key, record } = printed(run([]).stdout);
    expect(key.startsWith(`gk_live_${record.id}`)).toBe(true);
    expect(record.clientId).toBe(record.id);
  });

  it('takes the pepper from the environment', () => {
    const { key, record } = printed(run([], { GATEWARDEN_PEPPER: PEPPER }).stdout);
    expect(record.digests).toEqual([{ digest: digestApiKey(key, { pepper: PEPPER }) }]);
  });

  it.each([
    ['an option that it does not know', ['--wat'], {}, /^gatewarden keygen: .*'--wat'/],
    ['a pepper among the arguments', ['--pepper', PEPPER], {}, /^gatewarden keygen: .*'--pepper'/],
    ['a word', ['acme'], {}, /^gatewarden keygen: .*'acme'/],
    ['a client that is not said', ['--client'], {}, /^gatewarden keygen: .*--client/],
    ['an empty client', ['--client', ''], {}, /^gatewarden keygen: --client must be 1 to 128/],
    ['two clients', ['--client', 'a', '--client', 'b'], {}, /^gatewarden keygen: --client must stand only once/],
    ['two ends', ['--expires', '1d', '--expires', '2d'], {}, /^gatewarden keygen: --expires must stand only once/],
    ['an empty name', ['--name='], {}, /^gatewarden keygen: --name must be/],
    ['a scope of two', ['--scope', 'a b'], {}, /^gatewarden keygen: --scope must be/],
    ['an end without a unit', ['--expires', '90'], {}, /^gatewarden keygen: --expires must be a positive duration/],
    ['an end of no time', ['--expires', '0d'], {}, /^gatewarden keygen: --expires must be a positive duration/],
    ['an end beyond all time', ['--expires', '99999999d'], {}, /^gatewarden keygen: --expires must be at most/],
    ['a prefix that is none', ['--prefix', 'gk'], {}, /^gatewarden keygen: --prefix must be/],
    ['an empty pepper', [], { GATEWARDEN_PEPPER: '' }, /^gatewarden keygen: GATEWARDEN_PEPPER must be/],
    ['a short pepper', [], { GATEWARDEN_PEPPER: PEPPER.slice(0, 31) }, /^gatewarden keygen: GATEWARDEN_PEPPER must be/],
  ])('says what is wrong with %s, in a line, and prints no key', (_what, args, env, said) => {
    const { exitCode, stdout, stderr } = run(args, env as Record<string, string>);
    expect([exitCode, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(said);
    expect(stderr.split('\n')).toEqual([expect.any(String), 'See gatewarden keygen --help.', '']);
    expectNothingOf(PEPPER, stderr);
  });

  it('does not take a fault of its own for bad arguments', () => {
    const broken = () => {
      throw new Error('no clock');
    };
    expect(() => keygen([], {}, broken)).toThrow('no clock');
  });

  it('says in its help what it takes and how to pipe what it prints', () => {
    expect(run(['--help', '--client', 'a'])).toEqual({ exitCode: 0, stdout: KEYGEN_HELP, stderr: '' });
    for (const word of [
      '--client',
      '--name',
      '--scope',
      '--expires',
      '--prefix',
      '--help',
      'GATEWARDEN_PEPPER',
      ' | ',
    ]) {
      expect(KEYGEN_HELP).toContain(word);
    }
  });
});

describe('the command', () => {
  const main = fileURLToPath(new URL('../../../src/auth/api-keys/command.ts', import.meta.url));
  function command(...args: readonly string[]): Promise<{ code: unknown; stdout: string; stderr: string }> {
    return new Promise((resolve) => {
      execFile(process.execPath, ['--import', 'tsx', main, ...args], (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : error.code, stdout, stderr });
      });
    });
  }

  it('prints the key on the first line and the record on the second, and nothing else', async () => {
    const { code, stdout, stderr } = await command('keygen', '--client', 'acme');
    expect([code, stderr]).toEqual([0, '']);
    const { key, record } = printed(stdout);
    expect(record.digests).toEqual([{ digest: digestApiKey(key) }]);
  });

  it.each<readonly [args: readonly string[], code: number, stdout: string, said: string]>([
    [['--help'], 0, KEYGEN_HELP, ''],
    [['keygen', '--help'], 0, KEYGEN_HELP, ''],
    [[], 2, '', 'gatewarden: a command is missing'],
    [['keygn'], 2, '', 'gatewarden: no command keygn'],
    [['keygen', '--wat'], 2, '', 'gatewarden keygen: Unknown option'],
  ])('%j', async (args, code, stdout, said) => {
    const result = await command(...args);
    expect([result.code, result.stdout]).toEqual([code, stdout]);
    expect(result.stderr.startsWith(said)).toBe(true);
  });
});
