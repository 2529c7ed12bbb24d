import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import type { TestProject } from 'vitest/node';
import { findExecutable } from './processes.js';
import { type RedisAvailability, redisAvailability } from './server.js';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Whether suites can start Redis processes of their own; found out once a run. */
    redis: RedisAvailability;
  }
}

const HOW_TO_GET_IT = 'Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis';
const INSTALL_WITHIN = 300_000;
const POLICY = '/usr/sbin/policy-rc.d';

export interface Surroundings {
  readonly platform: NodeJS.Platform;
  /** Undefined where the platform has no user ids. */
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

/** Vitest's global setup: sees to it that the Redis suites have a server to start, or says loudly that they have not. */
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
  const redis = decision === 'install' ? installed() : found;
  if (redis.available) return redis;

  const line = `${redis.why} (${HOW_TO_GET_IT})`;
  if (ci) throw new Error(`The Redis suites cannot run: ${line}`);
  const spared = process.env.REDIS_URL ? ' that start a server of their own' : '';
  console.warn(`\n*** REDIS SUITES SKIPPED${spared}: ${line} ***\n`);
  return redis;
}

function installed(): RedisAvailability {
  console.log('There is no redis-server: installing it with apt-get, for the Redis suites.');
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (...args: readonly string[]) =>
    execFileSync('apt-get', ['-qq', ...args], { env, stdio: ['ignore', 'ignore', 'pipe'], timeout: INSTALL_WITHIN });
  const lift = forbidServices();
  try {
    apt('update');
    apt('install', '-y', '--no-install-recommends', 'redis-server');
  } catch (error) {
    return { available: false, why: `apt-get could not install redis-server: ${lastLine(error)}` };
  } finally {
    lift();
  }
  return redisAvailability();
}

/** Debian asks this file whether a package may start its service; ours may not. One that is there already stays. */
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
