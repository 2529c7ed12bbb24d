const MINUTE = 60_000;

/**
 * Returns a function that names the calendar day of a moment in one time zone, such as `2026-11-22`. It remembers the latest.
 * Undefined for an unknown time zone.
 */
export function calendarDay(timeZone: string): ((now: number) => string) | undefined {
  const name = dayNames(timeZone);
  if (name === undefined) return undefined;
  let minute = 0;
  let day = '';
  return (now) => {
    // Days begin at whole minutes. To format each time would take longer than all else that is done for an exchange.
    if (now < minute || now >= minute + MINUTE || day === '') {
      minute = Math.floor(now / MINUTE) * MINUTE;
      day = name(now);
    }
    return day;
  };
}

/** The same for any moments: nothing is remembered. */
export function dayNames(timeZone: string): ((time: number) => string) | undefined {
  if (typeof timeZone !== 'string') return undefined;
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat('en-US-u-ca-iso8601-nu-latn', {
      timeZone,
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
    });
  } catch {
    return undefined;
  }
  return (time) => {
    const part: Record<string, string> = {};
    for (const { type, value } of format.formatToParts(time)) part[type] = value;
    return `${part.year}-${part.month}-${part.day}`;
  };
}

/** The day before a day that `calendarDay` has named. */
export function dayBefore(day: string): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) - 86_400_000).toISOString().slice(0, 10);
}

/** Whether a text is the name of a day that there is. */
export function isDay(text: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return false;
  const time = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(text);
}
