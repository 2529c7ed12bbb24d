import { parseForwarded } from './forwarded.js';

/**
 * Up to `max` entries of a forwarding header, nearest hop first. Several field lines form one list (RFC 9110 section
 * 5.3). Blank members are skipped. Entries further to the left, which a client may have written, are not read.
 */
export function hopsOf(name: string, lines: readonly string[], max: number): readonly string[] {
  // Cloudflare sends this header once, with one address. The empty string is not an address, so the walk stops there.
  if (name === 'cf-connecting-ip') return lines.length === 1 ? [(lines[0] ?? '').trim()] : [''];
  const hops: string[] = [];
  for (let i = lines.length - 1; i >= 0 && hops.length < max; i--) {
    const line = lines[i] ?? '';
    if (name === 'forwarded') hops.push(...parseForwarded(line).slice(-max).reverse());
    else addList(hops, line, max);
  }
  return hops;
}

function addList(hops: string[], line: string, max: number): void {
  let end = line.length;
  while (end >= 0 && hops.length < max) {
    const comma = end === 0 ? -1 : line.lastIndexOf(',', end - 1);
    const entry = trimOws(line, comma + 1, end);
    if (entry !== '') hops.push(entry);
    end = comma;
  }
}

/**
 * Trims spaces and tabs only. `trim()` also removes characters that are not white space in HTTP (RFC 9110 section
 * 5.6.3).
 */
function trimOws(line: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isOws(line.charCodeAt(start))) start++;
  while (end > start && isOws(line.charCodeAt(end - 1))) end--;
  return line.slice(start, end);
}

function isOws(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
