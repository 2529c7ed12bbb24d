/** What one quota policy has left for the caller. */
export interface QuotaState {
  /** The policy's name, as in the `RateLimit` header. */
  readonly name: string;
  /** Quota units that the policy allows. */
  readonly limit: number;
  /** Quota units left, never below zero. */
  readonly remaining: number;
  /** When more units become available, in epoch milliseconds. The time of the decision if none are in use. */
  readonly resetAt: number;
}
