export const BOUNDARY = 'gatewarden-test-boundary';
/** The `Content-Type` of the bodies that `multipart` builds. */
export const MULTIPART = `multipart/form-data; boundary=${BOUNDARY}`;

const CRLF = '\r\n';

/** One part of a multipart body. */
export interface Part {
  readonly name?: string;
  readonly filename?: string;
  readonly type?: string;
  readonly body: string | Buffer;
  /** Replaces the headers that are built from `name`, `filename` and `type`. */
  readonly head?: string;
}

/** Builds a multipart body. `end` replaces the closing boundary. */
export function multipart(parts: readonly Part[], end = `--${BOUNDARY}--${CRLF}`): Buffer {
  const pieces = parts.flatMap((part) => [
    `--${BOUNDARY}${CRLF}${part.head ?? headOf(part)}${CRLF}${CRLF}`,
    part.body,
    CRLF,
  ]);
  return Buffer.concat(
    [...pieces, end].map((piece) => (typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece)),
  );
}

function headOf({ name, filename, type }: Part): string {
  const parameters = [
    ...(name === undefined ? [] : [`; name="${name}"`]),
    ...(filename === undefined ? [] : [`; filename="${filename}"`]),
  ];
  const disposition = `Content-Disposition: form-data${parameters.join('')}`;
  return [disposition, ...(type === undefined ? [] : [`Content-Type: ${type}`])].join(CRLF);
}
