import { startTests } from 'vitest/internal/browser';
import { NOT_HERE } from './not-here.js';

/** How one test ended. `why` is the reason why it was skipped, or what failed. */
export interface TestResult {
  readonly file: string;
  readonly name: string;
  readonly state: 'passed' | 'failed' | 'skipped';
  readonly why?: string;
}

/** What a runtime reports when it has run its files. */
export interface Report {
  readonly results: readonly TestResult[];
  /** What was thrown outside of a test. */
  readonly errors: readonly string[];
}

type Runner = Parameters<typeof startTests>[1];
type Task = Awaited<ReturnType<typeof startTests>>[number]['tasks'][number];

/** Test files by path: each is evaluated when it is its turn, inside of a request where a runtime demands that. */
export type Files = Readonly<Record<string, () => Promise<unknown>>>;

/** Tests that a runtime cannot run, by the name of `suite > test`, and why. */
export type Skips = readonly (readonly [file: string, name: RegExp, why: string])[];

// What vitest expects of the process that it runs in. Its own runner for browsers provides the same.
const state = {
  filepath: '',
  current: undefined as unknown,
  config: { expect: { poll: { interval: 5 } }, snapshotOptions: { expand: false }, fakeTimers: {} },
  ctx: { pool: 'runtimes' },
  environment: { name: 'node' },
  evaluatedModules: { idToModuleMap: new Map() },
  resolvingModules: new Set(),
  metaEnv: process.env,
};
Object.defineProperty(globalThis, '__vitest_worker__', { value: state, configurable: true });

const errors: string[] = [];

/** Runs the chosen files one after the other with the runner of vitest. */
export async function runSuites(files: Files, skips: Skips, chosen: readonly string[]): Promise<Report> {
  const timeouts = { testTimeout: 20_000, hookTimeout: 20_000 };
  const runner: Runner = {
    config: {
      ...timeouts,
      root: '/',
      setupFiles: [],
      name: undefined,
      passWithNoTests: true,
      testNamePattern: undefined,
      allowOnly: false,
      sequence: { seed: 1, hooks: 'stack', setupFiles: 'list' },
      chaiConfig: undefined,
      maxConcurrency: 1,
      retry: 0,
      includeTaskLocation: undefined,
      tags: [],
      tagsFilter: undefined,
      strictTags: false,
    },
    importFile(path) {
      state.filepath = path;
      return files[path]?.();
    },
    onCollected(collected) {
      for (const file of collected) skipTasks(file.filepath, '', file.tasks, skips);
    },
    onBeforeRunTask(test) {
      state.current = test;
    },
    // The runner asks for these two by the names of their options.
    pool: 'runtimes',
    viteEnvironment: 'node',
  };
  const results: TestResult[] = [];
  for (const path of chosen) {
    for (const file of await startTests([path], runner)) {
      const failed = file.result?.errors ?? [];
      if (failed.length > 0) results.push(failure(path, '', failed));
      collect(path, '', file.tasks, results);
    }
  }
  return { results, errors };
}

/** Keeps what was thrown outside of a test. */
export function onStray(error: unknown): void {
  errors.push(error instanceof Error ? (error.stack ?? String(error)) : String(error));
}

function skipTasks(file: string, parent: string, tasks: readonly Task[], skips: Skips): void {
  for (const task of tasks) {
    const name = parent === '' ? task.name : `${parent} > ${task.name}`;
    const skip = skips.find(([path, pattern]) => path === file && pattern.test(name));
    if (skip !== undefined && task.mode === 'run') {
      task.mode = 'skip';
      Object.assign(task.meta, { why: skip[2] });
    }
    if (task.type === 'suite') skipTasks(file, name, task.tasks, skips);
  }
}

function collect(file: string, parent: string, tasks: readonly Task[], results: TestResult[]): void {
  for (const task of tasks) {
    const name = parent === '' ? task.name : `${parent} > ${task.name}`;
    const failed = task.result?.errors ?? [];
    if (task.type === 'suite') {
      // A hook of the suite.
      if (failed.length > 0) results.push(failure(file, name, failed));
      collect(file, name, task.tasks, results);
    } else if (task.result?.state === 'pass') results.push({ file, name, state: 'passed' });
    else if (task.result?.state === 'fail') results.push(failure(file, name, failed));
    else results.push({ file, name, state: 'skipped', why: reasonOf(task) });
  }
}

function reasonOf(task: Task): string {
  for (let at: Task | undefined = task; at !== undefined; at = at.suite) {
    const { why } = at.meta as { why?: string };
    if (why !== undefined) return why;
  }
  const { note } = (task.result ?? {}) as { readonly note?: string };
  return note ?? 'the test skips itself';
}

type Thrown = readonly { readonly message: string; readonly stack?: string; readonly diff?: string }[];

/** A failure counts as skipped if the runtime lacks what the test needs. Without a name it is the whole file. */
function failure(file: string, name: string, thrown: Thrown): TestResult {
  const [first] = thrown;
  const at = first?.message.indexOf(NOT_HERE) ?? -1;
  if (first !== undefined && at >= 0)
    return { file, name, state: 'skipped', why: first.message.slice(at + NOT_HERE.length) };
  const why = thrown.map(({ message, stack, diff }) => diff ?? stack ?? message).join('\n');
  return { file, name, state: 'failed', why };
}
