import type { JobChange, JobRecord } from './job-store.js';

type Changing = (report: JobChange) => JobRecord | undefined | Promise<JobRecord | undefined>;

/** Writes the newest place or progress of a job, one at a time. Those that come meanwhile replace each other. */
export class JobReports {
  readonly #change: Changing;
  readonly #onRecord: (record: JobRecord) => void;
  #next: JobChange | undefined = undefined;
  #isWriting = false;
  #isOver = false;

  constructor(change: Changing, onRecord: (record: JobRecord) => void) {
    this.#change = change;
    this.#onRecord = onRecord;
  }

  async write(report: JobChange): Promise<void> {
    this.#next = report;
    if (this.#isWriting) return;
    this.#isWriting = true;
    try {
      while (this.#next !== undefined && !this.#isOver) {
        const change: JobChange = this.#next;
        this.#next = undefined;
        const record = await this.#change(change);
        // A place that comes late is refused, because the job has started.
        if (record !== undefined) this.#onRecord(record);
      }
    } catch {
      // A report is no promise. The next one may arrive.
    } finally {
      this.#isWriting = false;
    }
  }

  end(): void {
    this.#isOver = true;
  }
}
