import { describe, expect, it, onTestFinished } from 'vitest';
import { isAlive, spawnWorker, until } from './processes.js';

const echo = (env?: Record<string, string>) => {
  const worker = spawnWorker(new URL('echo-worker.ts', import.meta.url), env);
  onTestFinished(() => worker.stop());
  return worker;
};

describe('a spawned worker', () => {
  it('is a process of its own that runs TypeScript and exchanges messages', async () => {
    const worker = echo({ GREETING: 'hello' });
    worker.send(['a', 1]);
    worker.send({ b: null });
    expect(await worker.receive()).toEqual({ greeting: 'hello', message: ['a', 1] });
    expect(await worker.receive()).toEqual({ greeting: 'hello', message: { b: null } });
    expect(worker.pid).not.toBe(process.pid);
  });

  it('is gone after stop()', async () => {
    const worker = echo();
    await worker.stop();
    expect(isAlive(worker.pid)).toBe(false);
    expect(await worker.exit).toBeNull();
  });

  it('says why it died when a message is awaited', async () => {
    const worker = echo();
    worker.send('fail');
    await expect(worker.receive()).rejects.toThrow(/exited with 1\n[\s\S]*asked to fail/);
    expect(await worker.exit).toBe(1);
  });

  it('survives a message to a worker that is gone', async () => {
    const worker = echo();
    process.kill(worker.pid, 'SIGKILL');
    for (let sent = 0; sent < 1_000; sent++) worker.send(sent);
    expect(await worker.exit).toBeNull();
    worker.send('late');
  });

  it('waits for a message no longer than asked', async () => {
    await expect(echo().receive(20)).rejects.toThrow('sent nothing within 20 ms');
  });
});

describe('until', () => {
  it('resolves when the condition holds', async () => {
    let checks = 0;
    await until('the third check', () => ++checks === 3);
    expect(checks).toBe(3);
  });

  it('says what it has waited for in vain', async () => {
    await expect(until('the moon', () => false, 20)).rejects.toThrow('20 ms in vain: the moon');
  });
});
