import type { AccessLogFields, AccessLogStartFields, Logger } from 'gatewarden';

/**
 * Writes the fields of `accessLog` as the guide shows them: a line for the request when it arrives, one for the response, and
 * one for an invalid key. Where the guide shows the beginning of the key, this line shows a hash of it.
 */
export function guideLines(logger: Logger): Logger {
  const lines = (level: keyof Logger) => (fields: object) => {
    const { requestId, method, path, ...rest } = fields as AccessLogStartFields | AccessLogFields;
    if (!('outcome' in rest)) {
      logger.info({ requestId }, `${method} ${path}`);
      return;
    }
    const { status, duration, ...others } = rest;
    if (others.code === 'credentials-invalid') {
      logger.warn({}, `Invalid API key attempt: ${others.keyHash ?? 'None'}...`);
    }
    logger[level]({ requestId, ...others }, `${status ?? 'aborted'} - ${(duration / 1000).toFixed(3)}s`);
  };
  return { info: lines('info'), warn: lines('warn'), error: lines('error') };
}
