import type { AccessLogFields, Logger } from 'gatewarden';

/**
 * Writes the fields of `accessLog` as the guide shows them: a line for the request, one for the response, and one for an
 * invalid key. Where the guide shows the beginning of the key, this line shows a hash of it.
 */
export function guideLines(logger: Logger): Logger {
  const lines = (level: keyof Logger) => (fields: object) => {
    const { requestId, method, path, status, duration, ...rest } = fields as AccessLogFields;
    logger.info({ requestId }, `${method} ${path}`);
    if (rest.code === 'credentials-invalid') {
      logger.warn({}, `Invalid API key attempt: ${rest.keyHash ?? 'None'}...`);
    }
    logger[level]({ requestId, ...rest }, `${status ?? 'aborted'} - ${(duration / 1000).toFixed(3)}s`);
  };
  return { info: lines('info'), warn: lines('warn'), error: lines('error') };
}
