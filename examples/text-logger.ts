/** The logger of the examples. It has pino's shape, so that pino can replace it. */
export interface Logger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export const LEVELS = ['DEBUG', 'INFO', 'WARNING', 'ERROR'] as const;
export type Level = (typeof LEVELS)[number];

/** Writes the lines that the guides show: time, name, level, text. Lines below `minLevel` are not written. */
export function textLogger(write: (line: string) => void, minLevel: Level = 'INFO'): Logger {
  const line = (level: Level) => (fields: object, message: string) => {
    if (LEVELS.indexOf(level) < LEVELS.indexOf(minLevel)) return;
    const { requestId, err, ...otherFields } = fields as { requestId?: string; err?: unknown };
    const id = requestId === undefined ? '' : `[${requestId}] `;
    const details = Object.entries(otherFields)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => ` ${name}=${JSON.stringify(value)}`)
      .join('');
    const stack = err instanceof Error ? `\n${err.stack}` : '';
    const time = new Date().toISOString().replace('T', ' ').replace('.', ',').slice(0, -1);
    write(`${time} - server - ${level} - ${id}${message}${details}${stack}\n`);
  };
  return { info: line('INFO'), warn: line('WARNING'), error: line('ERROR') };
}
