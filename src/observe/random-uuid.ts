import { randomFillSync } from 'node:crypto';

const BYTES = 16;
/** UUIDs for which random bytes are drawn at once. */
const BATCH = 256;

/**
 * Returns a function that returns a new random UUID (RFC 9562 section 5.4) at each call. All 122 random bits come from the
 * system's generator. They are drawn and written as text for many UUIDs at once, which is faster than `crypto.randomUUID`,
 * and not before the first call, because Workers have no random values while a module loads.
 */
export function randomUuids(): () => string {
  let digits = '';
  let at = 0;
  return () => {
    if (at === digits.length) {
      digits = randomDigits();
      at = 0;
    }
    const start = at;
    at += 2 * BYTES;
    const first = `${digits.slice(start, start + 8)}-${digits.slice(start + 8, start + 12)}`;
    const second = `${digits.slice(start + 12, start + 16)}-${digits.slice(start + 16, start + 20)}`;
    return `${first}-${second}-${digits.slice(start + 20, start + 32)}`;
  };
}

function randomDigits(): string {
  const bytes = randomFillSync(Buffer.allocUnsafe(BATCH * BYTES));
  for (let i = 0; i < bytes.length; i += BYTES) {
    bytes.writeUInt8((bytes.readUInt8(i + 6) & 0x0f) | 0x40, i + 6);
    bytes.writeUInt8((bytes.readUInt8(i + 8) & 0x3f) | 0x80, i + 8);
  }
  return bytes.toString('hex');
}
