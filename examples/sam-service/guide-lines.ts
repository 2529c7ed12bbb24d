import type { AccessLogFields, Logger } from 'gatewarden';

/**
 * Writes the fields of `accessLog` as the guide shows them: a line for the request, with a short hash of its key, and one
 * for the response.
 */
export function guideLines(logger: Logger): Logger {
  const lines = (level: keyof Logger) => (fields: object) => {
    const { method, path, keyHash, status, ...rest } = fields as AccessLogFields;
    const { requestId } = rest;
    logger[level]({ requestId }, `Request: ${method} ${path} - API Key: ${keyHash ?? 'None'}...`);
    logger[level](rest, `Response: ${status ?? 'aborted'}`);
  };
  return { info: lines('info'), warn: lines('warn'), error: lines('error') };
}
