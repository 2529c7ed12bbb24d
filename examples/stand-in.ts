import { fork } from 'node:child_process';
import { once } from 'node:events';

/** A stand-in worker that is running. */
export interface StandIn {
  readonly url: string;
  /** Call it when the service stops: from then on, the stand-in may stop too. */
  release(): void;
}

/** Starts a CPU stand-in as a child process, with these arguments. It exits when this process does, and receives no secret. */
export async function startStandIn(script: string, args: readonly string[] = []): Promise<StandIn> {
  const { PATH, HOME, TMPDIR } = process.env;
  const child = fork(script, args, { env: { PATH, HOME, TMPDIR, PORT: '0' } });
  let released = false;
  child.once('exit', (code) => {
    if (released) return;
    console.error(`The stand-in worker has stopped with exit code ${code}. Start the service again.`);
    process.exit(1);
  });
  const [message] = await once(child, 'message');
  return {
    url: (message as { url: string }).url,
    release: () => {
      released = true;
    },
  };
}
