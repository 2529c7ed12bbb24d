const MAX_LENGTH = 255;
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/**
 * The client's name for a file, made safe to display: no path, no control characters, not `.` or `..`, at most 255
 * characters.
 */
export function displayFilename(filename: string | undefined): string | undefined {
  const last = (filename ?? '').replace(INVISIBLE, '').split(/[/\\]/).at(-1) ?? '';
  // The cut may leave half of a surrogate pair, on which `encodeURIComponent` throws.
  const name = last
    .trim()
    .slice(0, MAX_LENGTH)
    .replace(/[\uD800-\uDBFF]$/, '')
    .trim();
  return name === '' || /^\.+$/.test(name) ? undefined : name;
}
