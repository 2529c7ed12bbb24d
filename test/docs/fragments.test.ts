import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ENVIRONMENT } from './environment.js';
import { FOLDER, fileOf, moduleOf, SNIPPETS } from './snippets.js';

const OWN = join(FOLDER, `fragments-${process.pid}`);

describe('a fragment of the documentation runs in the context that it names:', () => {
  beforeAll(() => mkdir(OWN, { recursive: true }));
  afterAll(() => {
    // The store of a fragment still has a journal there, and warns that it is gone, until this process ends.
    vi.restoreAllMocks();
    process.emitWarning = () => undefined;
    return rm(OWN, { recursive: true, force: true });
  });
  beforeEach(() => {
    for (const [name, value] of Object.entries(ENVIRONMENT)) vi.stubEnv(name, value);
    vi.stubEnv('DATA_DIRECTORY', join(OWN, 'data'));
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    vi.spyOn(console, 'log').mockImplementation(() => undefined);
  });

  for (const snippet of SNIPPETS) {
    // Those that connect to Redis are run by redis-clients.test.ts.
    if (snippet.program !== undefined || snippet.context === 'with-redis') continue;
    it(`${snippet.place} (${snippet.context})`, async () => {
      const file = join(OWN, fileOf(snippet));
      await writeFile(file, moduleOf(snippet));
      await expect(import(/* @vite-ignore */ file)).resolves.toBeDefined();
    });
  }
});

it('has no snippet without a program name or a context', () => {
  expect(SNIPPETS.filter(({ program, context }) => program === undefined && context === undefined)).toEqual([]);
});
