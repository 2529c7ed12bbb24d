import type { QuotaPolicy } from '../../policy.js';
import type { CounterTable } from '../counter-table.js';
import type { Counters } from '../counters.js';
import { MemoryHold } from '../holds.js';
import { readCounter } from './counter-records.js';
import { declaredPolicy } from './declared-policy.js';
import { FILE_HEADER } from './file-header.js';
import { FRAME_HEADER } from './frame-buffer.js';
import { damaged } from './journal-events.js';
import type { FoundFile } from './journal-files.js';
import * as kinds from './record-kinds.js';
import { RecordReader } from './record-reader.js';

/** Counters that a file declares. */
export interface RestoredCounters {
  readonly table: CounterTable;
  readonly counters: Counters;
  policy: QuotaPolicy;
  readonly isByDay: boolean;
  /** Undefined for counters of keys. */
  readonly shared: { readonly secret: string; readonly count: number } | undefined;
}

/** Brings counters to where a journal says that they were. */
export class Replay {
  /** All counters that have something. */
  readonly restored = new Map<Counters, RestoredCounters>();
  readonly #tableOf: (policy: QuotaPolicy) => CounterTable;
  #byId = new Map<number, RestoredCounters>();

  constructor(tableOf: (policy: QuotaPolicy) => CounterTable) {
    this.#tableOf = tableOf;
  }

  /** Applies all records of a file. `shift` is added to the times of windows and holds. */
  apply(file: FoundFile, shift: number): void {
    const { content, path } = file;
    const reader = new RecordReader(content, (what, at) => damaged(path, at, `has ${what}`));
    // Each file declares its counters.
    this.#byId = new Map();
    for (let at = FILE_HEADER; at < file.end; ) {
      const end = at + FRAME_HEADER + (content.words[at / 4] as number);
      reader.at = at + FRAME_HEADER;
      while (reader.at < end) this.#applyNext(reader, shift);
      if (reader.at !== end) throw reader.fault('a record that is longer than its frame');
      at = end;
    }
  }

  /** To be called after the last file. */
  finish(): void {
    const tables = new Set<CounterTable>();
    for (const { table } of this.restored.values()) {
      table.shared?.keepLongest();
      tables.add(table);
    }
    for (const table of tables) table.restored();
  }

  #applyNext(reader: RecordReader, shift: number): void {
    const first = reader.word();
    const slot = reader.word();
    const kind = first & ((1 << kinds.KIND_BITS) - 1);
    const id = first >>> kinds.KIND_BITS;
    switch (kind) {
      case kinds.POLICY:
        this.#declare(reader, id, slot);
        return;
      case kinds.CLOCK:
        reader.skip(24);
        return;
      case kinds.SEALED:
        reader.skip(16);
        return;
      case kinds.COMPLETE:
      case kinds.CLOSED:
        return;
    }
    const target = this.#byId.get(id);
    if (target === undefined) throw reader.fault(`a record of kind ${kind} about counters that it does not declare`);
    const { counters } = target;
    switch (kind) {
      case kinds.TAKE:
      case kinds.COUNTER: {
        const { key, number: limit } = reader.key();
        if (target.shared === undefined) target.table.restore(slot, key);
        else if (kind === kinds.COUNTER) counters.clear(slot);
        counters.marks.mark(slot, limit);
        if (kind === kinds.COUNTER) readCounter(reader, counters, slot, shift);
        return;
      }
      case kinds.FORGOTTEN:
        counters.holds?.restoreForgotten(reader.number());
        return;
      case kinds.CLEAR:
        counters.clearLog(slot);
        return;
      default:
        this.#change(reader, kind, target, slot, target.isByDay ? 0 : shift, shift);
    }
  }

  #change(
    reader: RecordReader,
    kind: number,
    { counters, policy }: RestoredCounters,
    slot: number,
    shift: number,
    holdShift: number,
  ): void {
    // A counter that is not there yet is written later in the file, with all that it has by then.
    const isThere = counters.isTaken(slot);
    const time = reader.number();
    const second = reader.number();
    switch (kind) {
      case kinds.CHARGE: {
        const units = reader.word();
        const limit = reader.word();
        if (!isThere) return;
        counters.log?.used(policy, slot, time + shift);
        counters.log?.addAt(slot, second + shift, units);
        counters.marks.mark(slot, limit);
        return;
      }
      case kinds.HOLD: {
        const units = reader.word();
        const limit = reader.word();
        const place = reader.word();
        const lease = reader.word();
        if (!isThere) return;
        counters.marks.mark(slot, limit);
        counters.holds?.restore(slot, new MemoryHold(place, second, units, lease, time + holdShift));
        return;
      }
      case kinds.RENEW: {
        reader.skip(8);
        const hold = counters.holds?.list(slot).find(({ token }) => token === second);
        if (hold === undefined) return;
        counters.holds?.restore(slot, new MemoryHold(hold.slot, second, hold.units, hold.lease, time + holdShift));
        return;
      }
      case kinds.END: {
        const used = reader.number();
        reader.skip(8);
        const hold = counters.holds?.list(slot).find(({ token }) => token === second);
        if (hold !== undefined) counters.holds?.remove(slot, hold);
        if (used > 0 && isThere) counters.use(policy, slot, used, time + shift);
        return;
      }
      case kinds.CORRECT: {
        const delta = reader.number();
        const limit = reader.word();
        const isUndone = reader.word() === 1;
        if (!isThere) return;
        if (isUndone) counters.log?.correct(slot, second + shift, delta, time + shift);
        else counters.correct(withLimit(policy, limit), slot, second + shift, delta, time + shift);
        return;
      }
      default:
        throw reader.fault(`a record of kind ${kind}, which this version does not know`);
    }
  }

  #declare(reader: RecordReader, id: number, length: number): void {
    const declared = declaredPolicy(reader.text(length));
    if (declared === undefined) throw reader.fault('a policy that this version does not know');
    const { policy, shared } = declared;
    const table = this.#tableOf(policy);
    const isByDay = 'dayOf' in policy && policy.dayOf !== undefined;
    if (shared !== undefined && table.shared?.secret !== shared.secret) {
      table.restoreShared(shared.secret, shared.count);
    }
    const counters = shared === undefined || table.shared === undefined ? table.counters : table.shared.counters;
    const target = { table, counters, policy, isByDay, shared };
    this.#byId.set(id, target);
    this.restored.set(counters, target);
  }
}

function withLimit(policy: QuotaPolicy, limit: number): QuotaPolicy {
  return policy.limit === limit ? policy : { ...policy, limit };
}
