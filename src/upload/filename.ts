const MAX_LENGTH = 255;
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** What a client calls a file, as something to show: no folder, no control character, not `.` or `..`, 255 characters. */
export function shownFilename(filename: string | undefined): string | undefined {
  const name = (filename ?? '').replace(HIDDEN, '').split(/[/\\]/).at(-1)?.trim().slice(0, MAX_LENGTH) ?? '';
  return name === '' || /^\.+$/.test(name) ? undefined : name;
}
