import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PROBLEM_CODES, type ProblemCode, problem } from '../../src/core/problem.js';
import { OptionError, sequence, sharedSecret, slidingWindow } from '../../src/index.js';
import { UPLOAD_REASONS } from '../../src/upload/reasons.js';
import { PAGES, pageText, ROOT } from './snippets.js';

/** As GitHub makes it of a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, '')
    .replaceAll(' ', '-');
}

function anchorsOf(page: string): readonly string[] {
  return [...pageText(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => anchorOf(heading));
}

/** Links that lead to no file, or to no heading of a page. */
function deadLinks(page: string): readonly string[] {
  const links = [...pageText(page).matchAll(/\]\((?!https?:)([^)]+)\)/g)].map(([, link = '']) => link);
  return links.filter((link) => {
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? page : join(dirname(page), path);
    if (!existsSync(join(ROOT, target))) return true;
    return anchor !== undefined && !anchorsOf(target).includes(anchor);
  });
}

const SOURCES = (readdirSync(join(ROOT, 'src'), { recursive: true }) as string[])
  .filter((path) => path.endsWith('.ts'))
  .map((path) => readFileSync(join(ROOT, 'src', path), 'utf8'))
  .join('\n');

function messageOf(mistake: () => unknown): string {
  try {
    mistake();
  } catch (error) {
    if (error instanceof Error) return error.message;
  }
  return '';
}

const found = (text: string, pattern: RegExp) => [
  ...new Set([...text.matchAll(pattern)].map(([, match = '']) => match)),
];

describe('the README', () => {
  const lines = pageText('README.md').split('\n');

  it('has at most 250 lines, the first code at line 15 or before, and a quick start of at most 15 lines', () => {
    const start = lines.indexOf('```js');
    const end = lines.indexOf('```', start);
    expect(lines.length).toBeLessThanOrEqual(250);
    expect(start + 2).toBeLessThanOrEqual(15);
    expect(end - start - 1).toBeLessThanOrEqual(15);
  });

  it('leads to every page of the guide', () => {
    const text = pageText('README.md');
    const missing = PAGES.filter((page) => page.startsWith('docs/') && page !== 'docs/README.md');
    expect(missing.filter((page) => !text.includes(`(${page}`))).toEqual([]);
  });
});

describe('a page of the documentation', () => {
  it.each(PAGES)('%s has links that lead somewhere', (page) => {
    expect(deadLinks(page)).toEqual([]);
  });

  it.each(PAGES)('%s has lines of at most 120 characters, tables and code aside', (page) => {
    const prose = pageText(page).replace(/```[\s\S]*?```/g, '');
    expect(prose.split('\n').filter((line) => line.length > 120 && !line.startsWith('|'))).toEqual([]);
  });
});

describe('the guide names', () => {
  const errors = pageText('docs/errors.md');
  const guide = PAGES.map(pageText).join('\n');

  it.each([...PROBLEM_CODES] as ProblemCode[])('the problem %s with its status', (code) => {
    const { status } = problem(code, {} as never);
    expect(errors).toContain(`| [\`${code}\`](#${code}) | ${status} |`);
    expect(errors).toMatch(new RegExp(`### ${code}\n\n${status}\\b`));
  });

  it('every code of a warning or an error', () => {
    expect(found(SOURCES, /'(GATEWARDEN_[A-Z_]+)'/g).filter((code) => !guide.includes(`\`${code}\``))).toEqual([]);
  });

  it('no code that is not in the source', () => {
    expect(found(guide, /`(GATEWARDEN_[A-Z_]+)`/g).filter((code) => !SOURCES.includes(`'${code}'`))).toEqual([]);
  });

  it('every reason of an upload that is refused', () => {
    const reasons = Object.values(UPLOAD_REASONS).flatMap((texts) => Object.values(texts));
    expect(reasons.filter((reason) => !errors.includes(`\n- \`${reason}\`\n`))).toEqual([]);
  });

  it.each(['point-e', 'ai-factory', 'live-ingest', 'sam-service'])('every setting of the example %s', (name) => {
    const settings = readFileSync(join(ROOT, 'examples', name, 'settings.ts'), 'utf8');
    const page = pageText(`docs/examples/${name}.md`);
    const variables = found(settings, /^ {2,6}([A-Z][A-Z_]+): /gm);
    expect(variables.length).toBeGreaterThan(5);
    expect(variables.filter((variable) => !page.includes(`\`${variable}\``))).toEqual([]);
  });

  it('mistakes in options with the messages that they cause', () => {
    const [, shown = ''] = /```text\n([\s\S]*?)```/.exec(pageText('docs/getting-started.md')) ?? [];
    const mistakes = [
      () => slidingWindow({ limit: 60, window: 60 } as never),
      () => slidingWindow({ limit: 60, windows: '1m' } as never),
      () => sequence(((_request: unknown, _response: unknown) => undefined) as never),
      () => sharedSecret({ secrets: [undefined] }),
    ];
    for (const mistake of mistakes) expect(mistake).toThrow(OptionError);
    expect(mistakes.map(messageOf)).toEqual(shown.trim().split('\n'));
  });
});
