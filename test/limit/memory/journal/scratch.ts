import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { SCRATCH } from './reopening-store.js';

/** Names directories that are not there yet. What is made in them is removed after the last test of the file. */
export function useScratch(): () => string {
  const folder = mkdtempSync(join(SCRATCH, 'gatewarden-'));
  afterAll(() => rm(folder, { recursive: true, maxRetries: 20, retryDelay: 20 }));
  let count = 0;
  return () => join(folder, String(count++));
}
