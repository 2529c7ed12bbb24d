import { type Problem, problem } from '../core/problem.js';
import { type MalformedReason, type UndecodableReason, UPLOAD_REASONS } from './reasons.js';

/**
 * Fails the stream of an `onFile` callback when the upload does not pass every check, and any read of a file that has
 * been removed. Without it, an incomplete file would look like a complete one. `code` is one of:
 * - `GATEWARDEN_UPLOAD_REFUSED`: the upload broke a rule. `problem` says which.
 * - `GATEWARDEN_UPLOAD_ABORTED`: the client disconnected, or the exchange ended, before the upload was received and
 *   checked, or before the file was read.
 */
export class UploadError extends Error {
  override readonly name = 'UploadError';

  constructor(
    readonly code: 'GATEWARDEN_UPLOAD_REFUSED' | 'GATEWARDEN_UPLOAD_ABORTED',
    /** The answer to the client. If the client has disconnected, it is never sent. */
    readonly problem: Problem,
    cause?: unknown,
  ) {
    super(code === 'GATEWARDEN_UPLOAD_REFUSED' ? `gatewarden: the upload was refused: ${problem.detail}` : ABORTED, {
      cause,
    });
  }
}

const ABORTED =
  'gatewarden: the uploaded file is no longer available: the client disconnected or the exchange has ended. ' +
  'Read files before the response is finished.';

export function refused(problem: Problem): UploadError {
  return new UploadError('GATEWARDEN_UPLOAD_REFUSED', problem);
}

export function malformed(reason: MalformedReason): UploadError {
  return refused(problem('upload-malformed', { reason: UPLOAD_REASONS['upload-malformed'][reason] }));
}

export function undecodable(reason: UndecodableReason): UploadError {
  return refused(problem('upload-undecodable', { reason: UPLOAD_REASONS['upload-undecodable'][reason] }));
}

export function tooLarge(part: 'file' | 'field' | 'body' | 'parts' | 'pixels' | 'decoded', limit: number): UploadError {
  return refused(problem('upload-too-large', { part, limit }));
}

export function aborted(cause?: unknown): UploadError {
  const reason = UPLOAD_REASONS['upload-malformed'].incomplete;
  return new UploadError('GATEWARDEN_UPLOAD_ABORTED', problem('upload-malformed', { reason }), cause);
}
