/** What a process of its own is told to ask of a limit. */
export interface Order {
  readonly limit: number;
  /** Milliseconds. */
  readonly window: number;
  readonly keys: readonly string[];
  /** How many callers run at the same time. */
  readonly parallel: number;
  /** How long each caller continues, in milliseconds. With 0, each sends one request. */
  readonly duration: number;
}
