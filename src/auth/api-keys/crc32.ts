/** CRC-32 of IEEE 802.3, with its bits reversed. */
const POLYNOMIAL = 0xedb88320;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? POLYNOMIAL ^ (rest >>> 1) : rest >>> 1;
  return rest;
});

/**
 * CRC-32 of the first `length` characters of ASCII text. Node 22.0 and 22.1 do not have `zlib.crc32`, and it is no
 * faster.
 */
export function crc32(text: string, length = text.length): number {
  let crc = -1;
  for (let i = 0; i < length; i++) crc = (TABLE[(crc ^ text.charCodeAt(i)) & 0xff] ?? 0) ^ (crc >>> 8);
  return ~crc >>> 0;
}
