/** What one quota policy has left for the caller. */
export interface QuotaState {
  /** The policy's name, as in the `RateLimit` header. */
  readonly name: string;
  /** Quota units that the policy allows. Those of `gpuTime` are milliseconds, and those of `concurrency` are held at once. */
  readonly limit: number;
  /** Quota units left, never below zero. */
  readonly remaining: number;
  /**
   * When more units become available, in epoch milliseconds. The time of the decision if none are in use. For
   * `concurrency`, when the first lease ends unless it is renewed.
   */
  readonly resetAt: number;
}
