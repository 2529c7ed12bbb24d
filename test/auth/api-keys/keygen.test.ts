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
  it('prints a key and its record, which apiKeys accepts', async () => {
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

  it('reads the pepper from the environment', () => {
    const { key, record } = printed(run([], { GATEWARDEN_PEPPER: PEPPER }).stdout);
    expect(record.digests).toEqual([{ digest: digestApiKey(key, { pepper: PEPPER }) }]);
  });

  it.each([
    ['an unknown option', ['--wat'], {}, /^gatewarden keygen: .*'--wat'/],
    ['a pepper among the arguments', ['--pepper', PEPPER], {}, /^gatewarden keygen: .*'--pepper'/],
    ['a word', ['acme'], {}, /^gatewarden keygen: .*'acme'/],
    ['a client without a value', ['--client'], {}, /^gatewarden keygen: .*--client/],
    ['an empty client', ['--client', ''], {}, /^gatewarden keygen: --client must be 1 to 128/],
    ['two clients', ['--client', 'a', '--client', 'b'], {}, /^gatewarden keygen: --client must be given only once/],
    [
      'two expiries',
      ['--expires', '1d', '--expires', '2d'],
      {},
      /^gatewarden keygen: --expires must be given only once/,
    ],
    ['an empty name', ['--name='], {}, /^gatewarden keygen: --name must be/],
    ['a scope of two words', ['--scope', 'a b'], {}, /^gatewarden keygen: --scope must be/],
    [
      'an expiry without a unit',
      ['--expires', '90'],
      {},
      /^gatewarden keygen: --expires needs a unit, got '90'; write '90s'/,
    ],
    ['an expiry of no time', ['--expires', '0d'], {}, /^gatewarden keygen: --expires must be at least '1ms'/],
    [
      'an expiry beyond a hundred years',
      ['--expires', '99999999d'],
      {},
      /^gatewarden keygen: --expires must be at most/,
    ],
    ['a malformed prefix', ['--prefix', 'gk'], {}, /^gatewarden keygen: --prefix must be/],
    ['an empty pepper', [], { GATEWARDEN_PEPPER: '' }, /^gatewarden keygen: GATEWARDEN_PEPPER is empty; it must be/],
    ['a short pepper', [], { GATEWARDEN_PEPPER: PEPPER.slice(0, 31) }, /^gatewarden keygen: GATEWARDEN_PEPPER must be/],
  ])('reports %s in one line, and prints no key', (_what, args, env, message) => {
    const { exitCode, stdout, stderr } = run(args, env as Record<string, string>);
    expect([exitCode, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(message);
    expect(stderr.split('\n')).toEqual([expect.any(String), 'See gatewarden keygen --help.', '']);
    expectNothingOf(PEPPER, stderr);
  });

  it('does not report its own failure as a bad argument', () => {
    const broken = () => {
      throw new Error('no clock');
    };
    expect(() => keygen([], {}, broken)).toThrow('no clock');
  });

  it('lists its options and an example of a pipe in its help', () => {
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
  const main = fileURLToPath(new URL('../../../src/command/command.ts', import.meta.url));
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

  it.each<readonly [args: readonly string[], code: number, stdout: string, message: string]>([
    [['keygen', '--help'], 0, KEYGEN_HELP, ''],
    [[], 2, '', 'gatewarden: no command given'],
    [['keygn'], 2, '', 'gatewarden: unknown command keygn'],
    [['keygen', '--wat'], 2, '', 'gatewarden keygen: Unknown option'],
  ])('answers the arguments %j', async (args, code, stdout, message) => {
    const result = await command(...args);
    expect([result.code, result.stdout]).toEqual([code, stdout]);
    expect(result.stderr.startsWith(message)).toBe(true);
  });
});
