/** What the examples log with: of pino's shape, so that pino itself may stand here. */
export interface Logger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export const LEVELS = ['DEBUG', 'INFO', 'WARNING', 'ERROR'] as const;
export type Level = (typeof LEVELS)[number];

/** The lines that the guide shows: time, name, level, text. Below `least` none is written. */
export function textLogger(write: (line: string) => void, least: Level = 'INFO'): Logger {
  const line = (level: Level) => (fields: object, message: string) => {
    if (LEVELS.indexOf(level) < LEVELS.indexOf(least)) return;
    const { requestId, err, ...rest } = fields as { requestId?: string; err?: unknown };
    const id = requestId === undefined ? '' : `[${requestId}] `;
    const more = Object.entries(rest).filter(([, value]) => value !== undefined);
    const detail = more.map(([name, value]) => ` ${name}=${JSON.stringify(value)}`).join('');
    const failure = err instanceof Error ? `\n${err.stack}` : '';
    const time = new Date().toISOString().replace('T', ' ').replace('.', ',').slice(0, -1);
    write(`${time} - server - ${level} - ${id}${message}${detail}${failure}\n`);
  };
  return { info: line('INFO'), warn: line('WARNING'), error: line('ERROR') };
}
