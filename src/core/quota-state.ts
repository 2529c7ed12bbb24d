/** How much of one quota policy is left for the caller. */
export interface QuotaState {
  /** The policy's name, as in the `RateLimit` header. */
  readonly name: string;
  /** Quota units that the policy grants. */
  readonly limit: number;
  /** Quota units left, never below zero. */
  readonly remaining: number;
  /** When further units become available, in epoch milliseconds; the time of the decision when none is in use. */
  readonly resetAt: number;
}
