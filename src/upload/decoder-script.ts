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
 * runs in another process, so it uses nothing outside of itself, and its inner functions have no names to be kept.
 */
function decodeInTurn(process: NodeJS.Process, sharp: Sharp, decode: typeof decodeImage): void {
  const WATCH_MS = 5;
  const WORN_BYTES = 64 * 1024 * 1024;
  // Only a signal ends a process whose threads are busy.
  process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
  // A signal for the whole group is for the service, which may still answer the requests that it has.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => undefined);
  sharp.cache?.(false);
  const atStart = process.memoryUsage.rss();

  process.on('message', async (job: DecodeJob) => {
    const before = process.memoryUsage.rss();
    const watch = setInterval(() => {
      if (process.memoryUsage.rss() - before <= job.maxBytes) return;
      const message: DecoderMessage = { kind: 'memory' };
      process.send?.(message, () => process.kill(process.pid, 'SIGKILL'));
    }, WATCH_MS);
    sharp.block?.({ operation: ['VipsForeignLoad'] });
    sharp.unblock?.({ operation: [job.loader] });
    const result = await decode(sharp, job).catch(
      (error: unknown): DecodeResult => ({ kind: 'fault', message: String(error) }),
    );
    clearInterval(watch);
    const message: DecoderMessage = { ...result, worn: process.memoryUsage.rss() - atStart > WORN_BYTES };
    process.send?.(message);
  });
  const ready: DecoderMessage = { kind: 'ready' };
  process.send?.(ready);
}

/**
 * The script of a decoder process, whose argument is the path of sharp. It is made from functions, so that they are
 * checked like all code, and no bundler has to know of another file.
 */
export const DECODER_SCRIPT = `(${decodeInTurn})(process, require(process.argv.at(-1)), ${decodeImage});`;
