import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as jwt from '../../src/auth/jwt/index.js';
import * as core from '../../src/index.js';
import * as jobs from '../../src/jobs/index.js';
import * as metrics from '../../src/observe/metrics/index.js';
import * as operator from '../../src/operator/index.js';
import * as redis from '../../src/redis.js';
import * as upload from '../../src/upload/index.js';
import * as worker from '../../src/worker/index.js';
import { CONTEXTS } from './contexts.js';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Inside the package's scope, so that `gatewarden` resolves by its own name. Git ignores it. */
export const FOLDER = join(ROOT, '.cache/docs');

/** The README and the guide. The API reference is generated, and has its own check. */
export const PAGES: readonly string[] = [
  'README.md',
  ...(readdirSync(join(ROOT, 'docs'), { recursive: true }) as string[])
    .filter((path) => path.endsWith('.md') && !path.startsWith('api'))
    .map((path) => `docs/${path}`),
];

/** One fenced block of JavaScript or TypeScript. */
export interface Snippet {
  /** Page and line. */
  readonly place: string;
  readonly language: 'js' | 'ts';
  readonly code: string;
  /** Of a program: the name in its first line, `// name.mjs`. */
  readonly program: string | undefined;
  /** Of a fragment: what the comment before it names, `<!-- context: name -->`. */
  readonly context: string | undefined;
}

const BLOCK = /(?:<!-- context: ([\w-]+) -->\n)?```(\w+)\n([\s\S]*?)```/g;
const PROGRAM = /^\/\/ ([\w-]+)\.m[jt]s\n/;

export function pageText(page: string): string {
  return readFileSync(join(ROOT, page), 'utf8');
}

function snippetsOf(page: string): readonly Snippet[] {
  const text = pageText(page);
  return [...text.matchAll(BLOCK)].flatMap(({ 1: context, 2: language, 3: code = '', index }): Snippet[] => {
    if (language !== 'js' && language !== 'ts') return [];
    const place = `${page}:${text.slice(0, index).split('\n').length}`;
    return [{ place, language, code, program: PROGRAM.exec(code)?.[1], context }];
  });
}

/** The README's first snippet, which has no line to spare for a name. */
const [QUICK_START, ...OTHERS] = PAGES.flatMap(snippetsOf);
if (QUICK_START === undefined) throw new Error('the README has no quick start');

export const SNIPPETS: readonly Snippet[] = [{ ...QUICK_START, program: 'quick-start' }, ...OTHERS];

/** The program of that name. */
export function programNamed(name: string): Snippet {
  const found = SNIPPETS.filter(({ program }) => program === name);
  const [snippet] = found;
  if (snippet === undefined || found.length > 1) throw new Error(`${found.length} snippets are named ${name}`);
  return snippet;
}

/** The name of a snippet's file in `FOLDER`. */
export function fileOf({ place, program, language }: Snippet): string {
  const name = program ?? place.replace(/\W+/g, '-');
  return `${name}.${language === 'ts' ? 'mts' : 'mjs'}`;
}

const EXPORTS: readonly (readonly [specifier: string, names: readonly string[]])[] = [
  ['gatewarden', Object.keys(core)],
  ['gatewarden/jobs', Object.keys(jobs)],
  ['gatewarden/jwt', Object.keys(jwt)],
  ['gatewarden/metrics', Object.keys(metrics)],
  ['gatewarden/operator', Object.keys(operator)],
  ['gatewarden/redis', Object.keys(redis)],
  ['gatewarden/upload', Object.keys(upload)],
  ['gatewarden/worker', Object.keys(worker)],
];

/**
 * The module that a snippet stands for. A program is one already. A fragment gets what its context declares, and imports of
 * the names of this package that it uses without saying from where.
 */
export function moduleOf(snippet: Snippet): string {
  if (snippet.program !== undefined) return snippet.code;
  const before = CONTEXTS[snippet.context ?? ''];
  if (before === undefined) throw new Error(`${snippet.place}: no context ${snippet.context}`);
  const own = `${before}\n${snippet.code}`;
  const imported = new Set<string>();
  const imports = EXPORTS.flatMap(([specifier, names]) => {
    const isUsed = (name: string) => new RegExp(`\\b${name}\\b`).test(own) && !declares(own, name);
    // Two entries may export one name.
    const used = names.filter((name) => isUsed(name) && !imported.has(name));
    for (const name of used) imported.add(name);
    return used.length === 0 ? [] : [`import { ${used.join(', ')} } from '${specifier}';`];
  });
  return [...imports, own, 'export {};'].join('\n');
}

function declares(code: string, name: string): boolean {
  return (
    new RegExp(`\\b(?:const|let|function|class)\\s+${name}\\b`).test(code) ||
    new RegExp(`\\bimport[^;]*\\{[^}]*\\b${name}\\b[^}]*\\}`).test(code)
  );
}
