import { type Problem, problem } from '../core/problem.js';

/**
 * What a stream that was handed over provisionally fails with, so that nobody takes what came for the whole file, and what
 * reading a file fails with that is gone.
 * - `GATEWARDEN_UPLOAD_REFUSED`: the upload was found not to be what the service takes; `problem` says why.
 * - `GATEWARDEN_UPLOAD_ABORTED`: the client left, or the exchange ended, before all of it was here and checked, or before
 *   somebody came to read it.
 */
export class UploadError extends Error {
  override readonly name = 'UploadError';

  constructor(
    readonly code: 'GATEWARDEN_UPLOAD_REFUSED' | 'GATEWARDEN_UPLOAD_ABORTED',
    /** What the client is answered; where it left, nobody reads it. */
    readonly problem: Problem,
    cause?: unknown,
  ) {
    super(code === 'GATEWARDEN_UPLOAD_REFUSED' ? `gatewarden: the upload was not taken: ${problem.detail}` : GONE, {
      cause,
    });
  }
}

const GONE =
  'gatewarden: the upload is gone: its client left, or it was answered; its files are there until the exchange has settled';

export function refused(problem: Problem): UploadError {
  return new UploadError('GATEWARDEN_UPLOAD_REFUSED', problem);
}

export function malformed(reason: string): UploadError {
  return refused(problem('upload-malformed', { reason }));
}

export function tooLarge(part: 'file' | 'field' | 'body' | 'parts' | 'pixels', limit: number): UploadError {
  return refused(problem('upload-too-large', { part, limit }));
}

export function aborted(cause?: unknown): UploadError {
  return new UploadError('GATEWARDEN_UPLOAD_ABORTED', problem('upload-malformed', { reason: 'cut short' }), cause);
}
