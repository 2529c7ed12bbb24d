import { type DecodeJob, type DecodeResult, decodeImage } from './decode-image.js';
import type { SharpFunction } from './sharp-function.js';

/** What a decoder process sends: that it has loaded sharp, or a result. */
export type DecoderMessage =
  | { readonly kind: 'ready' }
  /** It has used as much memory as it may, and ends. */
  | { readonly kind: 'memory' }
  | (DecodeResult & {
      /** Whether it has kept so much memory that a new process is better. */
      readonly worn: boolean;
    });

type Sharp = SharpFunction & { cache?(enabled: boolean): unknown };

/**
 * Decodes one image after another. sharp decodes on other threads, so this one is free to watch the memory. Its source
 * runs in another process: it uses nothing outside of itself.
 */
function decodeInTurn(process: NodeJS.Process, sharp: Sharp, decode: typeof decodeImage): void {
  const WATCH_MS = 5;
  const WORN_BYTES = 64 * 1024 * 1024;
  // Only a signal ends a process whose threads are busy.
  const end = () => process.kill(process.pid, 'SIGKILL');
  process.on('disconnect', end);
  // A signal for the whole group is for the service, which may still answer the requests that it has.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => undefined);
  const send = (message: DecoderMessage) => process.send?.(message);
  sharp.cache?.(false);
  const atStart = process.memoryUsage.rss();

  process.on('message', async (job: DecodeJob) => {
    const before = process.memoryUsage.rss();
    const watch = setInterval(() => {
      if (process.memoryUsage.rss() - before > job.maxBytes) process.send?.({ kind: 'memory' }, end);
    }, WATCH_MS);
    sharp.block?.({ operation: ['VipsForeignLoad'] });
    sharp.unblock?.({ operation: [job.loader] });
    const result = await decode(sharp, job).catch(
      (error: unknown): DecodeResult => ({ kind: 'fault', message: String(error) }),
    );
    clearInterval(watch);
    send({ ...result, worn: process.memoryUsage.rss() - atStart > WORN_BYTES });
  });
  send({ kind: 'ready' });
}

/**
 * The script of a decoder process, whose argument is the path of sharp. It is made from functions, so that the same
 * source runs here and there, and no bundler has to know of another file. Some bundlers wrap functions in `__name`.
 */
export const DECODER_SCRIPT = `
const __name = (value) => value;
(${decodeInTurn})(process, require(process.argv[1]), ${decodeImage});
`;
