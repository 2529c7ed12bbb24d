/**
 * The bytes of an address in network order: 4 or 16. The text must be one that `net.isIP` has accepted, without a zone: this
 * function checks nothing.
 */
export function addressBytes(host: string): readonly number[] {
  if (!host.includes(':')) return ipv4Bytes(host);
  const [before = '', after] = host.split('::');
  const start = groupBytes(before);
  const end = groupBytes(after ?? '');
  // `::` stands for all zeros that are missing. The text accepted by `isIP` has no more than one.
  return [...start, ...new Array<number>(16 - start.length - end.length).fill(0), ...end];
}

function ipv4Bytes(text: string): readonly number[] {
  return text.split('.').map(Number);
}

/** Groups of hexadecimal digits. The last may be an IPv4 address (RFC 4291 section 2.2). */
function groupBytes(text: string): readonly number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (group.includes('.')) return ipv4Bytes(group);
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}

/** The canonical text of an address: IPv6 as in RFC 5952 section 4, without the mixed form of its section 5. */
export function addressText(bytes: readonly number[]): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] as number) << 8) | (bytes[2 * i + 1] as number));
  const text = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(':');
  const [start, length] = longestZeros(groups);
  return length < 2 ? text(0, 8) : `${text(0, start)}::${text(start + length, 8)}`;
}

/** The longest run of zero groups, the first of several (RFC 5952 section 4.2.3). */
function longestZeros(groups: readonly number[]): readonly [start: number, length: number] {
  let start = 0;
  let longest = 0;
  let length = 0;
  for (const [i, group] of groups.entries()) {
    length = group === 0 ? length + 1 : 0;
    if (length <= longest) continue;
    longest = length;
    start = i + 1 - length;
  }
  return [start, longest];
}

/** Whether 16 bytes are an IPv4-mapped address, `::ffff:0:0/96` (RFC 4291 section 2.5.5.2). */
export function isMappedIpv4(bytes: readonly number[]): boolean {
  return bytes.length === 16 && bytes.every((byte, i) => i > 11 || byte === (i > 9 ? 0xff : 0));
}
