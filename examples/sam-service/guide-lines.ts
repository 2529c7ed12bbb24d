import type { AccessLogFields, AccessLogStartFields, Logger } from 'gatewarden';

/**
 * Writes the fields of `accessLog` as the guide shows them: a line for the request when it arrives, with a short hash of its
 * key, and one for the response.
 */
export function guideLines(logger: Logger): Logger {
  const lines = (level: keyof Logger) => (fields: object) => {
    const { method, path, keyHash, ...rest } = fields as AccessLogStartFields | AccessLogFields;
    if ('outcome' in rest) {
      const { status, ...others } = rest;
      logger[level](others, `Response: ${status ?? 'aborted'}`);
      return;
    }
    logger[level]({ requestId: rest.requestId }, `Request: ${method} ${path} - API Key: ${keyHash ?? 'None'}...`);
  };
  return { info: lines('info'), warn: lines('warn'), error: lines('error') };
}
