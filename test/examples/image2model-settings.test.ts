import { describe, expect, it, vi } from 'vitest';
import { modelNames } from '../../examples/image2model/model-names.js';
import { RecentEntries } from '../../examples/image2model/recent-entries.js';
import { readSettings } from '../../examples/image2model/settings.js';
import { OptionError } from '../../src/core/option.js';
import { isSafeName } from '../../src/jobs/result-files.js';
import { KEYS } from './image2model-fixture.js';

function mistake(env: Readonly<Record<string, string>>): string {
  try {
    readSettings(env);
  } catch (error) {
    if (error instanceof OptionError) return error.message;
    throw error;
  }
  return 'accepted';
}

describe('the settings of the Image2Model API', () => {
  it.each([
    ['one key', KEYS.alice, ['default/1']],
    ['a name and a key', `alice:${KEYS.alice}`, ['alice/1']],
    ['several clients', `alice:${KEYS.alice}, bob:${KEYS.bob}`, ['alice/1', 'bob/1']],
    ['two keys of one client', `alice:${KEYS.alice},alice:${KEYS.aliceNext}`, ['alice/1', 'alice/2']],
  ])('accept %s as API_KEY', (_what, API_KEY, ids) => {
    const { access, clients } = readSettings({ API_KEY });
    expect([access, clients.map(({ id }) => id)]).toEqual(['keys', ids]);
  });

  it.each([
    ['two keys without names', { API_KEY: `${KEYS.alice},${KEYS.bob}` }, '"API_KEY" item 1 must be name:key'],
    ['a key that no bearer token can be', { API_KEY: `alice:${KEYS.alice}!` }, '"API_KEY" item 1 must be name:key'],
    ['an empty name', { API_KEY: `:${KEYS.alice}` }, '"API_KEY" item 1 must be name:key'],
    ['an empty key', { API_KEY: 'alice:' }, '"API_KEY" item 1 must be name:key'],
    ['the name of the administrator', { API_KEY: `admin:${KEYS.alice}` }, '"API_KEY" item 1 must not be named admin'],
    ['one key twice', { API_KEY: `alice:${KEYS.alice},bob:${KEYS.alice}` }, 'has the same key as keys[0]'],
    [
      'the key of a client as the administrator’s',
      { API_KEY: KEYS.alice, ADMIN_API_KEY: KEYS.alice },
      'has the same key as keys[0]',
    ],
    ['half a generated key', { API_KEY: 'gk_live_c4n4ry' }, '"API_KEY" is not accepted'],
    ['an administrator’s key with a name', { ADMIN_API_KEY: `ops:${KEYS.admin}` }, '"ADMIN_API_KEY" item 1 must have'],
    ['no key on all addresses', { HOST: '0.0.0.0' }, '"API_KEY" must be set if HOST is not loopback'],
  ])('refuse %s, and show no key', (_what, env, message) => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    expect(mistake(env as Record<string, string>)).toContain(message);
    expect(mistake(env as Record<string, string>)).not.toContain('c4n4ry');
    vi.restoreAllMocks();
  });

  it.each([
    [{}, 'development'],
    [{ API_KEY: ' ' }, 'development'],
    [{ ENVIRONMENT: 'staging' }, 'development'],
    [{ ENVIRONMENT: 'production' }, 'closed'],
    [{ ENVIRONMENT: 'Production ' }, 'closed'],
    [{ NODE_ENV: 'production' }, 'closed'],
    [{ NODE_ENV: 'production', API_KEY: KEYS.alice }, 'keys'],
    [{ ENVIRONMENT: 'development', API_KEY: KEYS.alice }, 'keys'],
  ])('%o: regular endpoints are protected by %s', (env, access) => {
    expect(readSettings(env).access).toBe(access);
  });

  it('accept two keys of the administrator while one replaces the other', () => {
    const { admins } = readSettings({ ADMIN_API_KEY: `${KEYS.admin},${KEYS.unknown}` });
    expect(admins.map(({ id, clientId }) => [id, clientId])).toEqual([
      ['admin/1', 'admin'],
      ['admin/2', 'admin'],
    ]);
  });
});

it.each([
  [['chair.png'], ['chair.glb']],
  [
    ['chair.png', 'CHAIR.JPG', 'chair'],
    ['chair.glb', 'CHAIR-2.glb', 'chair-3.glb'],
  ],
  [
    ['etc/passwd', '.hidden', '', '../..', 'CON.png', 'a.tar.png', '写真.png'],
    ['etc-passwd.glb', 'model-2.glb', 'model-3.glb', 'model-4.glb', 'image-CON.glb', 'a-tar.glb', 'model-7.glb'],
  ],
  [
    ['写真 1.png', 'all', '1-2.png', '1.png'],
    ['1.glb', 'all.glb', '1-2.glb', '1-3.glb'],
  ],
  [[`${'x'.repeat(300)}.png`], [`${'x'.repeat(60)}.glb`]],
])('models of images named %o are named %o', (filenames, names) => {
  expect(modelNames(filenames)).toEqual(names);
  expect(names.every(isSafeName)).toBe(true);
});

it('a log keeps its last entries', () => {
  const entries = new RecentEntries(2);
  entries.add('INFO', 'one', {});
  entries.add('ERROR', 'two', { code: 5 });
  entries.add('INFO', 'three', {});
  expect(entries.last(9, undefined)).toMatchObject([{ message: 'two', code: 5 }, { message: 'three' }]);
  expect(entries.last(9, 'ERROR').map(({ message }) => message)).toEqual(['two']);
  expect(entries.last(1, undefined).map(({ message }) => message)).toEqual(['three']);
});
