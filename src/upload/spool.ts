import { accessSync, constants, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { badOption, checkOptionNames, type OptionNames } from '../core/option.js';
import { bytes, type Size } from '../core/size.js';
import { SpooledFile } from './spooled-file.js';
import { sweepStaleFiles } from './stale-files.js';

/** Where files are kept until the exchange ends. */
export interface SpoolOptions {
  /** A file of up to this size stays in memory. Default `'1mb'`. */
  readonly memoryBytes?: Size | undefined;
  /**
   * The directory for larger files. It must exist and be writable. Default: the system's directory for temporary files.
   */
  readonly directory?: string | undefined;
}

const OPTIONS: OptionNames<SpoolOptions> = { memoryBytes: true, directory: true };

/**
 * Creates a function that creates empty spooled files. The directory is checked only if a file of `maxBytes` can reach
 * it.
 * @throws OptionError
 */
export function spool(options: SpoolOptions = {}, maxBytes: number): () => SpooledFile {
  checkOptionNames('upload "spool"', options, OPTIONS);
  const { directory = tmpdir() } = options;
  const memoryBytes = bytes('upload', 'spool.memoryBytes', options.memoryBytes ?? '1mb', 2 ** 30);
  if (typeof directory !== 'string' || directory === '' || (memoryBytes < maxBytes && !isWritable(directory))) {
    throw badOption(
      'upload',
      'spool.directory',
      'must be an existing directory that this process can write to',
      directory,
    );
  }
  if (memoryBytes < maxBytes) sweepStaleFiles(directory);
  return () => new SpooledFile(directory, memoryBytes);
}

function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK | constants.X_OK);
    return statSync(directory).isDirectory();
  } catch {
    return false;
  }
}
