const MAX_LENGTH = 255;
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** What a client calls a file, as something to show: no folder, no control character, not `.` or `..`, 255 characters. */
export function shownFilename(filename: string | undefined): string | undefined {
  const last = (filename ?? '').replace(HIDDEN, '').split(/[/\\]/).at(-1) ?? '';
  // No half of a character at the end: `encodeURIComponent` would throw.
  const name = last
    .trim()
    .slice(0, MAX_LENGTH)
    .replace(/[\uD800-\uDBFF]$/, '')
    .trim();
  return name === '' || /^\.+$/.test(name) ? undefined : name;
}
