/** Where an exchange waits for a slot. */
export interface QueuePlace {
  /** 1 for the one that is next. */
  readonly position: number;
  /** How long it will probably still wait, in milliseconds. Undefined if nothing is known yet. */
  readonly expectedWait: number | undefined;
}
