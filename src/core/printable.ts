const CONTROL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const MAX_LENGTH = 2048;

/** Text for a log: characters that could end a line or control a terminal are replaced by a question mark. */
export function printable(text: string): string {
  return text.slice(0, MAX_LENGTH).replace(CONTROL, '?');
}
