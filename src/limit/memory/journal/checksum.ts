// CRC-32 as in zlib and IEEE 802.3, four bytes a step, since all records are whole words.

const POLYNOMIAL = 0xedb88320;
/** A function, so that a bundle without journals can leave it out. */
const TABLES = /* @__PURE__ */ makeTables();

function makeTables(): Int32Array {
  const tables = new Int32Array(4 * 256);
  for (let i = 0; i < 256; i++) {
    let value = i;
    for (let bit = 0; bit < 8; bit++) value = (value & 1) === 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
    tables[i] = value;
  }
  for (let i = 0; i < 768; i++) {
    const value = tables[i] as number;
    tables[i + 256] = (value >>> 8) ^ (tables[value & 255] as number);
  }
  return tables;
}

/** The checksum of the words from `from` to before `to`, continued from that of what was before. */
export function checksum(words: Uint32Array, from: number, to: number, before: number): number {
  let crc = ~before;
  for (let i = from; i < to; i++) {
    crc ^= words[i] as number;
    crc =
      (TABLES[768 + (crc & 255)] as number) ^
      (TABLES[512 + ((crc >>> 8) & 255)] as number) ^
      (TABLES[256 + ((crc >>> 16) & 255)] as number) ^
      (TABLES[crc >>> 24] as number);
  }
  return ~crc >>> 0;
}
