import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ENVIRONMENT } from './environment.js';
import { FOLDER, fileOf, moduleOf, SNIPPETS } from './snippets.js';

const OWN = join(FOLDER, `fragments-${process.pid}`);

describe('a fragment of the documentation runs in the context that it names:', () => {
  beforeAll(() => mkdir(OWN, { recursive: true }));
  afterAll(() => rm(OWN, { recursive: true, force: true }));
  beforeEach(() => {
    for (const [name, value] of Object.entries(ENVIRONMENT)) vi.stubEnv(name, value);
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    vi.spyOn(console, 'log').mockImplementation(() => undefined);
  });

  for (const snippet of SNIPPETS) {
    if (snippet.program !== undefined) continue;
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
