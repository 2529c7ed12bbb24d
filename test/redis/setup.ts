import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import type { TestProject } from 'vitest/node';
import { findExecutable } from './processes.js';
import { type RedisAvailability, redisAvailability } from './server.js';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Whether suites can start Redis processes of their own. Found out once for each run. */
    redis: RedisAvailability;
  }
}

const HOW_TO_GET_IT = 'Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis';
const INSTALL_WITHIN = 300_000;
const POLICY = '/usr/sbin/policy-rc.d';

export interface Surroundings {
  readonly platform: NodeJS.Platform;
  /** Undefined if the platform has no user ids. */
  readonly uid: number | undefined;
  readonly hasApt: boolean;
  readonly hasBinary: boolean;
  readonly ci: boolean;
}

/** What a test run does about Redis. */
export function decide({ platform, uid, hasApt, hasBinary, ci }: Surroundings): 'run' | 'install' | 'skip' | 'fail' {
  if (hasBinary) return 'run';
  if (platform === 'linux' && uid === 0 && hasApt) return 'install';
  return ci ? 'fail' : 'skip';
}

/** Vitest's global setup: makes sure that the Redis suites can start a server, or prints that they are skipped. */
export function setup(project: TestProject): void {
  project.provide('redis', prepare());
}

function prepare(): RedisAvailability {
  const ci = /^(1|true)$/i.test(process.env.CI ?? '');
  const found = redisAvailability();
  const decision = decide({
    platform: process.platform,
    uid: process.getuid?.(),
    hasApt: findExecutable('apt-get') !== undefined,
    hasBinary: found.available,
    ci,
  });
  const redis = decision === 'install' ? install() : found;
  if (redis.available) return redis;

  const line = `${redis.why} (${HOW_TO_GET_IT})`;
  if (ci) throw new Error(`The Redis suites cannot run: ${line}`);
  const extent = process.env.REDIS_URL ? ' that start a server of their own' : '';
  console.warn(`\n*** REDIS SUITES SKIPPED${extent}: ${line} ***\n`);
  return redis;
}

function install(): RedisAvailability {
  console.log('There is no redis-server. Installing it with apt-get, for the Redis suites.');
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (...args: readonly string[]) =>
    execFileSync('apt-get', ['-qq', ...args], { env, stdio: ['ignore', 'ignore', 'pipe'], timeout: INSTALL_WITHIN });
  const allowServices = forbidServices();
  try {
    apt('update');
    apt('install', '-y', '--no-install-recommends', 'redis-server');
  } catch (error) {
    return { available: false, why: `apt-get could not install redis-server: ${lastLine(error)}` };
  } finally {
    allowServices();
  }
  return redisAvailability();
}

/** Debian runs this file to ask whether a package may start its service. The answer is no. An existing file stays. */
function forbidServices(): () => void {
  try {
    writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { flag: 'wx', mode: 0o755 });
  } catch {
    return () => {};
  }
  return () => rmSync(POLICY, { force: true });
}

function lastLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error)
    .trim()
    .replace(/^[\s\S]*\n/, '');
}
