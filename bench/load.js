// HTTP load from a child process: wrk where it is installed, else autocannon. wrk needs less of a core, and its latencies
// have microseconds.
import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const AUTOCANNON = fileURLToPath(new URL('node_modules/autocannon/autocannon.js', import.meta.url));
const installed = (command, args) => spawnSync(command, args, { stdio: 'ignore' }).error === undefined;

let pins;

/**
 * A command line pinned to one core, so that a server and its load do not share one. Unchanged if `core` is undefined, on a
 * machine with a single core, or where there is no `taskset`.
 */
export function onCore(core, command, args) {
  pins ??= process.platform === 'linux' && availableParallelism() > 1 && installed('taskset', ['-V']);
  return core === undefined || !pins ? [command, args] : ['taskset', ['-c', String(core), command, ...args]];
}

let generator;

/** The load generator that `load` uses: `wrk` or `autocannon`. */
export function loadGenerator() {
  generator ??= installed('wrk', ['-v']) ? 'wrk' : 'autocannon';
  return generator;
}

/**
 * Requests as fast as the server answers them, on connections that are kept.
 * @param {{ url: string, connections?: number, seconds?: number, method?: string, headers?: Record<string, string>,
 *   body?: string, core?: number, allowRefusals?: boolean }} options `core` of the load, 1 by default
 * @returns {Promise<{ figure: number, requests: number, p50: number, p99: number, refusals: number }>} `figure` is requests
 *   a second, latencies are in milliseconds
 * @throws if a connection failed, or if an answer was not 2xx or 3xx and `allowRefusals` is not set
 */
export async function load({ allowRefusals = false, ...options }) {
  const result = await (loadGenerator() === 'wrk' ? wrk(options) : autocannon(options));
  if (result.errors > 0) throw new Error(`${result.errors} connections failed`);
  if (!allowRefusals && result.refusals > 0) {
    throw new Error(`${result.refusals} of ${result.requests} answers were neither 2xx nor 3xx`);
  }
  if (result.requests === 0) throw new Error('no answers');
  return result;
}

const UNITS = { us: 1e-3, ms: 1, s: 1000 };

async function wrk({ url, connections = 50, seconds = 1, method = 'GET', headers = {}, body, core = 1 }) {
  const args = ['-t1', `-c${connections}`, `-d${Math.max(1, Math.round(seconds))}s`, '--latency'];
  for (const [name, value] of Object.entries(headers)) args.push('-H', `${name}: ${value}`);
  const folder = mkdtempSync(join(tmpdir(), 'gatewarden-bench-'));
  try {
    if (method !== 'GET' || body !== undefined) {
      const script = join(folder, 'request.lua');
      const bodyLine = body === undefined ? '' : `wrk.body = ${JSON.stringify(body)}\n`;
      writeFileSync(script, `wrk.method = ${JSON.stringify(method)}\n${bodyLine}`);
      args.push('-s', script);
    }
    const { stdout } = await run(...onCore(core, 'wrk', [...args, url]));
    return parseWrk(stdout);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What `wrk --latency` printed. */
export function parseWrk(text) {
  const count = (pattern) => Number(pattern.exec(text)?.[1] ?? 0);
  const latency = (share) => {
    // wrk pads a unit of one letter.
    const found = new RegExp(`^\\s+${share}%\\s+([\\d.]+)(us|ms|s) ?$`, 'm').exec(text);
    if (found === null) throw new Error(`wrk printed no latencies:\n${text}`);
    return Number(found[1]) * UNITS[found[2]];
  };
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text) ?? [];
  return {
    figure: count(/^Requests\/sec:\s+([\d.]+)$/m),
    requests: count(/(\d+) requests in /),
    p50: latency(50),
    p99: latency(99),
    refusals: count(/Non-2xx or 3xx responses: (\d+)/),
    errors: errors.slice(1).reduce((sum, part) => sum + Number(part), 0),
  };
}

async function autocannon({ url, connections = 50, seconds = 1, method = 'GET', headers = {}, body, core = 1 }) {
  const args = [AUTOCANNON, '--json', '--no-progress', '-c', String(connections), '-d', String(seconds), '-m', method];
  for (const [name, value] of Object.entries(headers)) args.push('-H', `${name}=${value}`);
  if (body !== undefined) args.push('-b', body);
  const { stdout } = await run(...onCore(core, process.execPath, [...args, url]), { maxBuffer: 1 << 24 });
  const report = JSON.parse(stdout);
  const answered = report['1xx'] + report['2xx'] + report['3xx'] + report['4xx'] + report['5xx'];
  return {
    figure: answered / report.duration,
    requests: answered,
    p50: report.latency.p50,
    p99: report.latency.p99,
    refusals: report['4xx'] + report['5xx'],
    errors: report.errors + report.timeouts,
  };
}
