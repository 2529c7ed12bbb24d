import { join } from 'node:path';
import ts from 'typescript';
import { expect, it } from 'vitest';
import { FOLDER, fileOf, moduleOf, ROOT, SNIPPETS } from './snippets.js';

const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile);
const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT);

/** Strict, except that parameters in JavaScript need no types. */
const OPTIONS: ts.CompilerOptions = {
  ...options,
  allowJs: true,
  checkJs: true,
  noImplicitAny: false,
  noUncheckedIndexedAccess: false,
  noUnusedLocals: false,
  noUnusedParameters: false,
};

/** The snippets as files that are nowhere but here. */
function host(files: ReadonlyMap<string, string>): ts.CompilerHost {
  const real = ts.createCompilerHost(OPTIONS);
  return {
    ...real,
    fileExists: (path) => files.has(path) || real.fileExists(path),
    readFile: (path) => files.get(path) ?? real.readFile(path),
    getSourceFile: (path, version, ...rest) => {
      const text = files.get(path);
      return text === undefined
        ? real.getSourceFile(path, version, ...rest)
        : ts.createSourceFile(path, text, version, true);
    },
  };
}

it('has snippets that the compiler accepts', { timeout: 60_000 }, () => {
  const files = new Map(SNIPPETS.map((snippet) => [join(FOLDER, fileOf(snippet)), moduleOf(snippet)]));
  const program = ts.createProgram([...files.keys()], OPTIONS, host(files));
  const mistakes = [...files.keys()].flatMap((path) => {
    const source = program.getSourceFile(path);
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
      ({ messageText, start = 0, file }) => {
        const line = file?.text.slice(start).split('\n')[0];
        return `${path.slice(FOLDER.length + 1)}: ${ts.flattenDiagnosticMessageText(messageText, '\n')} at ${line}`;
      },
    );
  });
  expect(mistakes).toEqual([]);
});
