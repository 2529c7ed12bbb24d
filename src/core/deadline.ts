/** When the job of an exchange must be done. */
export interface Deadline {
  /** Milliseconds from the moment at which it was set. */
  readonly duration: number;
  /** Whether the client asked for less time than it could have had. */
  readonly isShortened: boolean;
  /** Milliseconds that are left; 0 if it has passed. */
  remaining(): number;
}
