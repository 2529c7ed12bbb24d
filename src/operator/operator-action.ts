/** What an operator wants done. */
export type OperatorAction =
  /** Suspends a client, or ends its suspension. */
  | { readonly action: 'suspend' | 'resume'; readonly client: string }
  /** Lets a client exceed its own quotas for the time of `allowance`, or ends that. */
  | { readonly action: 'allow' | 'disallow'; readonly client: string }
  /** Forgets what was charged to a client. */
  | { readonly action: 'reset'; readonly client: string }
  | { readonly action: 'cancel-job'; readonly job: string };

/** The name of an action. */
export type ActionName = OperatorAction['action'];

/** The actions on a client. */
export const CLIENT_ACTIONS = ['suspend', 'resume', 'allow', 'disallow', 'reset'] as const;

/**
 * What became of an action. Each action can be repeated: it is then `unchanged`, or `done` again without another effect.
 * - `done`
 * - `unchanged`: it was so before, or the job has ended.
 * - `not-found`: there is no such job.
 * - `failed`: a store failed, or has no room for another measure. A part of a reset may be done.
 */
export type ActionResult = 'done' | 'unchanged' | 'not-found' | 'failed';

/** One action of an operator, for an audit log. No value contains a line break or another control character. */
export interface OperatorRecord {
  /** When it was done, in epoch milliseconds. */
  readonly at: number;
  readonly action: ActionName;
  /** The client that it was about. */
  readonly client: string | undefined;
  /** The job that it was about. */
  readonly job: string | undefined;
  readonly result: ActionResult;
  /** When the measure ends by itself, in epoch milliseconds. */
  readonly until: number | undefined;
  /** The id of the operator. */
  readonly by: string;
  /** The id of the key or token that the operator used. */
  readonly credentialId: string | undefined;
  /** The address of the operator, or of the socket without `clientIp`. */
  readonly ip: string | undefined;
  readonly requestId: string | undefined;
}

/** What an action returns: its record, and whether that is in the audit log. */
export interface ActedRecord extends OperatorRecord {
  /** False if `sink` has thrown or rejected, or has not answered within two seconds. The action was done all the same. */
  readonly isRecorded: boolean;
}
