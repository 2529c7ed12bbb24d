import { describe, expect, it } from 'vitest';
import { type MemoryJobStore, memoryJobStore, type NewJob } from '../../src/jobs/index.js';
import { jobStoreContract } from '../contracts/jobs.js';
import { ManualClock } from '../contracts/limit-store.js';

const START = Date.UTC(2025, 5, 15, 12);

jobStoreContract('memoryJobStore', () => {
  const clock = new ManualClock(0);
  return { store: memoryJobStore({ now: clock.now, maxJobs: 1000 }), clock };
});

function jobOf(id: string, parts: Partial<NewJob> = {}): NewJob {
  return { id, owner: 'principal:alice', holder: 'h1', lease: 1000, ttl: 60_000, task: undefined, ...parts };
}

function opened(maxJobs: number): { store: MemoryJobStore; clock: ManualClock } {
  const clock = new ManualClock(START);
  return { store: memoryJobStore({ maxJobs, now: clock.now }), clock };
}

describe('memoryJobStore with room for two jobs', () => {
  it('refuses a third job while both live', () => {
    const { store } = opened(2);
    expect(store.create(jobOf('a')).kind).toBe('created');
    expect(store.create(jobOf('b')).kind).toBe('created');
    store.change('b', 'h1', { kind: 'start' });
    expect(store.create(jobOf('c')).kind).toBe('full');
    expect(store.read('c')).toBeUndefined();
    expect(store.size).toBe(2);
  });

  it('forgets the job that ended first for a new one', () => {
    const { store, clock } = opened(2);
    store.create(jobOf('a'));
    store.create(jobOf('b'));
    store.cancel('b');
    clock.advance(1);
    store.cancel('a');
    expect(store.create(jobOf('c')).kind).toBe('created');
    expect(store.read('b')).toBeUndefined();
    expect(store.read('a')).toMatchObject({ state: 'cancelled' });
    expect(store.size).toBe(2);
  });

  it('forgets no result of one owner for the many jobs of another', () => {
    const { store } = opened(10);
    const submit = (id: string, owner: string) => {
      expect(store.create(jobOf(id, { owner })).kind).toBe('created');
      store.cancel(id);
    };
    submit('alice-1', 'principal:alice');
    submit('alice-2', 'principal:alice');
    submit('bob-1', 'principal:bob');
    for (let i = 0; i < 100; i++) submit(`eve-${i}`, 'principal:eve');
    for (const id of ['alice-1', 'alice-2', 'bob-1', 'eve-99', 'eve-93']) expect(store.read(id)?.id).toBe(id);
    expect(store.read('eve-92')).toBeUndefined();
    expect(store.size).toBe(10);
  });

  it('forgets a job whose holder has died, although nobody has read it since', () => {
    const { store, clock } = opened(2);
    store.create(jobOf('a', { lease: 5000 }));
    store.create(jobOf('b'));
    clock.advance(999);
    expect(store.create(jobOf('c')).kind).toBe('full');
    clock.advance(1);
    expect(store.create(jobOf('c')).kind).toBe('created');
    expect(store.read('b')).toBeUndefined();
    expect(store.read('a')).toMatchObject({ state: 'queued' });
    // The lease that ends next is known after that.
    store.renew('c', 'h1', 10_000);
    clock.advance(3999);
    expect(store.create(jobOf('d')).kind).toBe('full');
    clock.advance(1);
    expect(store.create(jobOf('d')).kind).toBe('created');
  });

  it('gives memory back as jobs expire', () => {
    const { store, clock } = opened(1000);
    for (let i = 0; i < 100; i++) {
      store.create(jobOf(`job-${i}`, { ttl: 1000 }));
      store.cancel(`job-${i}`);
    }
    expect(store.size).toBe(100);
    clock.advance(1000);
    store.create(jobOf('next'));
    expect(store.size).toBe(1);
  });

  it('tells a watcher that its job was forgotten', () => {
    const { store, clock } = opened(2);
    store.create(jobOf('a'));
    store.cancel('a');
    let changes = 0;
    store.watch('a', () => changes++);
    clock.advance(60_000);
    expect(store.read('a')).toBeUndefined();
    expect(changes).toBe(1);
  });
});
