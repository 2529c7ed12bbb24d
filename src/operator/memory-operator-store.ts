import { checkFolderOf, checkLastingFiles } from '../core/lasting-files.js';
import { checkOptionNames, type OptionNames, positiveInteger, text } from '../core/option.js';
import { MeasureFile } from './measure-file.js';
import { type AddedMeasure, isInForce, MAX_MEASURES, type Measure, type OperatorStore } from './operator-store.js';

/** Options of `memoryOperatorStore`. */
export interface MemoryOperatorStoreOptions {
  /**
   * A file that keeps the measures through a restart. It is read now, and written whole with each change, before the change
   * takes effect. One process at a time may use it; use `redisOperatorStore` for several. Default none.
   */
  readonly file?: string | undefined;
  /** The most measures. Default 10,000. */
  readonly maxEntries?: number | undefined;
}

/** An operator store in memory. It answers without a promise. */
export interface MemoryOperatorStore extends OperatorStore {
  list(): readonly Measure[];
  add(measure: Measure): AddedMeasure;
  remove(kind: Measure['kind'], client: string): boolean;
}

const FACTORY = 'memoryOperatorStore';
const OPTIONS: OptionNames<MemoryOperatorStoreOptions> = { file: true, maxEntries: true };

/**
 * Keeps the measures of operators in this process, and in a file if one is named.
 *
 * ```ts
 * const controls = operatorControls({ store: memoryOperatorStore({ file: 'operator.json' }), sink })
 * ```
 * @throws OptionError
 * @throws Error that names the file, if it cannot be read or was not written by this store
 */
export function memoryOperatorStore(options: MemoryOperatorStoreOptions = {}): MemoryOperatorStore {
  checkOptionNames(FACTORY, options, OPTIONS);
  const maxEntries = positiveInteger(FACTORY, 'maxEntries', options.maxEntries ?? MAX_MEASURES);
  if (options.file !== undefined) checkLastingFiles(FACTORY, 'file');
  const path = options.file === undefined ? undefined : text(FACTORY, 'file', options.file);
  if (path !== undefined) checkFolderOf(FACTORY, 'file', path);
  const file = path === undefined ? undefined : new MeasureFile(path);
  let measures = new Map((file?.read() ?? []).map((measure) => [keyOf(measure.kind, measure.client), measure]));

  /** What was not written has not happened. */
  function replace(next: Map<string, Measure>): void {
    file?.write([...next.values()]);
    measures = next;
  }

  return {
    list: () => [...measures.values()],
    add(measure) {
      const key = keyOf(measure.kind, measure.client);
      const known = measures.get(key);
      if (known !== undefined && isInForce(known, measure.since)) return 'exists';
      const next = new Map([...measures].filter(([, other]) => isInForce(other, measure.since)));
      if (next.size >= maxEntries) return 'full';
      replace(next.set(key, measure));
      return 'added';
    },
    remove(kind, client) {
      const next = new Map(measures);
      if (!next.delete(keyOf(kind, client))) return false;
      replace(next);
      return true;
    },
  };
}

function keyOf(kind: Measure['kind'], client: string): string {
  return `${kind} ${client}`;
}
