import { afterEach, expect, it, vi } from 'vitest';
import { warn } from '../../src/core/warning.js';

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

it('emits a warning of the process', () => {
  const emitted = vi.spyOn(process, 'emitWarning').mockReturnValue(undefined);
  warn('keys can be guessed', { code: 'GATEWARDEN_WEAK_API_KEY' });
  expect(emitted.mock.calls).toEqual([['keys can be guessed', { code: 'GATEWARDEN_WEAK_API_KEY' }]]);
});

it('prints where the process has no warnings', () => {
  const printed = vi.spyOn(console, 'warn').mockReturnValue(undefined);
  vi.stubGlobal('process', { ...process, emitWarning: undefined });
  warn('keys can be guessed', { code: 'GATEWARDEN_WEAK_API_KEY' });
  expect(printed.mock.calls).toEqual([['[GATEWARDEN_WEAK_API_KEY] Warning: keys can be guessed']]);
});
