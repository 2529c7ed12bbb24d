import { type ChildProcess, spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { withTimeout } from '../core/with-timeout.js';
import type { DecodeJob, DecodeResult } from './decode-image.js';
import { DECODER_SCRIPT, type DecoderMessage } from './decoder-script.js';

const START_MS = 10_000;
const IDLE_MS = 30_000;
/** The only variables that a decoder process gets: it reads hostile files and needs no secrets. */
const ENVIRONMENT =
  /^(PATH|HOME|TMPDIR|TEMP|TMP|LANG|LC_.*|TZ|SystemRoot|(DY)?LD_.*|MALLOC_.*|VIPS_.*|UV_THREADPOOL_SIZE)$/;

/** How a decoder process ended before it had a result. */
type Ended = 'timeout' | 'memory' | 'crash' | 'aborted';

/** Idle processes, by the path of their sharp. */
const idle = new Map<string, DecoderProcess[]>();

/**
 * Decodes an image in a process of its own. That is the only way to stop a decoder which is busy in one long call, and
 * its memory goes back to the system. The process is used again for the next image. If `signal` aborts, it is ended.
 * @throws Error if no process can be started
 */
export async function decodeInProcess(
  sharpPath: string,
  job: DecodeJob,
  ms: number,
  signal?: AbortSignal,
): Promise<DecodeResult | Ended> {
  const sent = typeof job.input === 'string' ? { ...job, input: resolve(job.input) } : job;
  const start = performance.now();
  const result = await idle.get(sharpPath)?.pop()?.decode(sent, ms, signal);
  if (result === undefined) return (await DecoderProcess.start(sharpPath)).decode(sent, ms, signal);
  if (result !== 'crash') return result;
  // Something else may have ended it while it was idle.
  return (await DecoderProcess.start(sharpPath)).decode(sent, Math.max(1, ms - (performance.now() - start)), signal);
}

class DecoderProcess {
  readonly #child: ChildProcess;
  readonly #sharpPath: string;
  #idleTimer: NodeJS.Timeout | undefined;
  #onMessage: (message: DecoderMessage) => void = () => undefined;
  #onEnd: (error?: Error) => void = () => undefined;

  static async start(sharpPath: string): Promise<DecoderProcess> {
    const started = new DecoderProcess(sharpPath);
    const ready = new Promise<void>((resolve, reject) => {
      started.#onMessage = () => resolve();
      started.#onEnd = (error) => reject(error ?? new Error('it ended at once'));
    });
    try {
      await withTimeout(ready, START_MS, () => new Error(`it was not ready within ${START_MS} ms`));
      return started;
    } catch (cause) {
      started.#stop();
      const hint = 'check that sharp works and that processes can be started, or set "decode.separateProcess" to false';
      throw new Error(`gatewarden: the process that decodes images did not start; ${hint}`, { cause });
    }
  }

  private constructor(sharpPath: string) {
    this.#sharpPath = sharpPath;
    this.#child = spawn(process.execPath, ['-e', DECODER_SCRIPT, sharpPath], {
      env: Object.fromEntries(Object.entries(process.env).filter(([name]) => ENVIRONMENT.test(name))),
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      serialization: 'advanced',
      windowsHide: true,
    });
    this.#child
      .on('message', (message: DecoderMessage) => this.#onMessage(message))
      .on('error', (error) => this.#onEnd(error))
      .on('exit', () => this.#onEnd());
  }

  async decode(job: DecodeJob, ms: number, signal?: AbortSignal): Promise<DecodeResult | Ended> {
    clearTimeout(this.#idleTimer);
    this.#child.ref();
    // On Bun, the channel has neither of the two.
    this.#child.channel?.ref?.();
    let timer: NodeJS.Timeout | undefined;
    let abort = () => {};
    const result = await new Promise<DecoderMessage | Ended>((resolve) => {
      if (signal?.aborted === true) return resolve('aborted');
      abort = () => resolve('aborted');
      signal?.addEventListener('abort', abort);
      this.#onMessage = resolve;
      this.#onEnd = () => resolve('crash');
      timer = setTimeout(() => resolve('timeout'), ms);
      this.#child.send(job, (error) => error !== null && this.#onEnd(error));
    });
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
    if (typeof result === 'string' || result.kind === 'memory' || result.kind === 'ready') {
      this.#stop();
      if (typeof result === 'string') return result;
      return result.kind === 'memory' ? 'memory' : 'crash';
    }
    const { worn, ...decoded } = result;
    if (worn) this.#stop();
    else this.#rest();
    return decoded;
  }

  /** Waits for the next image, without keeping the service alive. */
  #rest(): void {
    const others = idle.get(this.#sharpPath) ?? [];
    idle.set(this.#sharpPath, others);
    others.push(this);
    const leave = () => {
      const at = others.indexOf(this);
      if (at !== -1) others.splice(at, 1);
      this.#stop();
    };
    this.#onEnd = leave;
    this.#idleTimer = setTimeout(leave, IDLE_MS).unref();
    this.#child.unref();
    this.#child.channel?.unref?.();
  }

  #stop(): void {
    clearTimeout(this.#idleTimer);
    this.#onEnd = () => undefined;
    this.#child.kill('SIGKILL');
  }
}
