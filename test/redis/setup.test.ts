import { describe, expect, it } from 'vitest';
import { decide, type Surroundings } from './setup.js';

const debianRoot: Surroundings = { platform: 'linux', uid: 0, hasApt: true, hasBinary: false, ci: false };

/** How the machine differs from a Debian without redis-server, used by root, and what the test run then does. */
const CASES: readonly [promise: string, differs: Partial<Surroundings>, decision: ReturnType<typeof decide>][] = [
  ['installs it as root on Debian', {}, 'install'],
  ['installs it as root on Debian in CI', { ci: true }, 'install'],
  ['installs nothing if it is present', { hasBinary: true }, 'run'],
  ['runs in CI if it is present', { hasBinary: true, ci: true }, 'run'],
  ['runs without root and apt-get if it is present', { hasBinary: true, uid: 1000, hasApt: false }, 'run'],
  ['runs on macOS if it is present', { hasBinary: true, platform: 'darwin', uid: 501, hasApt: false }, 'run'],
  ['skips if the user is not root', { uid: 1000 }, 'skip'],
  ['fails in CI if the user is not root', { uid: 1000, ci: true }, 'fail'],
  ['skips on a Linux without apt-get', { hasApt: false }, 'skip'],
  ['fails on a Linux without apt-get in CI', { hasApt: false, ci: true }, 'fail'],
  ['skips on macOS, as root and with a program called apt-get', { platform: 'darwin' }, 'skip'],
  ['fails on macOS in CI', { platform: 'darwin', uid: 501, hasApt: false, ci: true }, 'fail'],
  ['skips on Windows, which has no user ids', { platform: 'win32', uid: undefined, hasApt: false }, 'skip'],
];

describe('what a test run does about Redis', () => {
  it.each(CASES)('%s', (_promise, differs, decision) => {
    expect(decide({ ...debianRoot, ...differs })).toBe(decision);
  });
});
