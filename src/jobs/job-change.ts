import type { JobChange, JobRecord, JobState } from './job-store.js';

export function hasEnded(state: JobState): boolean {
  return state !== 'queued' && state !== 'running';
}

/** Whether a job in this state can change so. */
export function isAllowed(state: JobState, change: JobChange): boolean {
  switch (change.kind) {
    case 'place':
    case 'start':
      return state === 'queued';
    case 'progress':
      return state === 'running';
    default:
      return change.state === 'succeeded' ? state === 'running' : !hasEnded(state);
  }
}

/** What a change sets, apart from the version. */
export function changed(change: JobChange, now: number): Partial<JobRecord> {
  switch (change.kind) {
    case 'place':
      return { place: change.place };
    case 'start':
      return { state: 'running', startedAt: now, place: undefined };
    case 'progress':
      return { progress: change.progress };
    default: {
      const { kind, ...end } = change;
      return { ...end, place: undefined };
    }
  }
}
