import { badOption } from './option.js';

/** A size: a number of bytes, or a string such as `'64kb'`, `'50mb'`, `'1gb'`, in powers of 1024. */
export type Size = number | string;

const UNITS: Readonly<Record<string, number>> = { b: 1, kb: 1024, mb: 1_048_576, gb: 1_073_741_824 };

/** Reads a size as a positive whole number of bytes. @throws OptionError */
export function bytes(factory: string, option: string, value: Size, max = Number.MAX_SAFE_INTEGER): number {
  const rule = "must be a positive size: a whole number of bytes, or a string such as '64kb' or '50mb'";
  let result = value;
  if (typeof value === 'string') {
    const match = /^(\d{1,12})(b|kb|mb|gb)$/i.exec(value);
    const unit = UNITS[match?.[2]?.toLowerCase() ?? ''];
    if (match === null || unit === undefined) throw badOption(factory, option, rule, value);
    result = Number(match[1]) * unit;
  }
  if (typeof result !== 'number' || !Number.isSafeInteger(result) || result < 1) {
    throw badOption(factory, option, rule, value);
  }
  if (result > max) throw badOption(factory, option, `must be at most ${max} bytes`, value);
  return result;
}
