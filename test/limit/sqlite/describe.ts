import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe } from 'vitest';
import type { OwnDatabase } from '../../../src/limit/sqlite/database.js';

/** `node:sqlite` of this Node, or undefined. */
export const nodeSqlite = process.getBuiltinModule?.('node:sqlite') as
  | { readonly DatabaseSync: new (path: string) => OwnDatabase }
  | undefined;

/** A suite that needs `node:sqlite`. On a Node without it, the suite is skipped, and its name says why. */
export function describeSqlite(name: string, suite: () => void): void {
  if (nodeSqlite !== undefined) describe(name, suite);
  else describe.skip(`${name} (skipped: Node ${process.version} has no node:sqlite, which needs 22.13)`, suite);
}

/** A new folder, and a function that removes it. */
export function makeFolder(): { readonly folder: string; readonly path: string; readonly remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'sqlite-'));
  return { folder, path: join(folder, 'limits.db'), remove: () => rmSync(folder, { recursive: true, force: true }) };
}
