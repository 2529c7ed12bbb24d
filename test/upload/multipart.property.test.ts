import { Readable } from 'node:stream';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { uploadLimits } from '../../src/upload/limits.js';
import { type ReceivedUpload, receive } from '../../src/upload/receive.js';
import { SpooledFile } from '../../src/upload/spooled-file.js';
import { UploadError } from '../../src/upload/upload-error.js';
import { referenceParts } from './reference-parser.js';

const RUNS = Number(process.env.PROPERTY_RUNS ?? 1000);
const LIMITS = uploadLimits({ types: ['image/jpeg'], maxBytes: '1mb', maxCount: 20, minCount: 0 }, { maxCount: 20 });
/** What makes a file a JPEG, as far as its type is detected here. */
const JPEG = '\xff\xd8\xff\xe0';

/** A part as it was sent or received, in Latin-1. */
interface Item {
  readonly name: string;
  /** Undefined for a text field. */
  readonly filename?: string | undefined;
  readonly content: string;
}

/** Receives a body in the given chunks. Returns the parts, the fields first, or the code of the problem. */
async function received(body: string, boundary: string, cuts: readonly number[]): Promise<Item[] | string> {
  const bytes = Buffer.from(body, 'latin1');
  const ends = [...new Set([...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
  const chunks = ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end)).filter(({ length }) => length > 0);
  const newFile = () => new SpooledFile('/nowhere', 2_000_000);
  try {
    return await items(await receive(Readable.from(chunks), boundary, LIMITS, newFile, undefined));
  } catch (error) {
    if (error instanceof UploadError) return error.problem.code;
    throw error;
  }
}

async function items({ fields, files }: ReceivedUpload): Promise<Item[]> {
  const texts = [...fields].flatMap(([name, values]) =>
    values.map((value) => ({ name, content: Buffer.from(value).toString('latin1') })),
  );
  const contents = files.map(async ({ field, filename, spooled }) => {
    const content = (await spooled.buffer()).toString('latin1');
    return { name: field, filename, content };
  });
  return [...texts, ...(await Promise.all(contents))];
}

/** The fields, values of one name together, and then the files. */
function fieldsFirst(parts: readonly Item[]): Item[] {
  const texts = parts.filter(({ filename }) => filename === undefined);
  const names = [...new Set(texts.map(({ name }) => name))];
  return [
    ...names.flatMap((name) => texts.filter((part) => part.name === name)),
    ...parts.filter(({ filename }) => filename !== undefined),
  ];
}

const line = ({ name, filename }: Item) =>
  `Content-Disposition: form-data; name="${name}"${filename === undefined ? '' : `; filename="${filename}"`}`;

/** Whether the content holds what ends a part, or could for another reader. */
const delimits = (content: string, boundary: string) => {
  const whole = `\r\n${content}\r\n--${boundary}\r\n`;
  const escaped = boundary.replace(/[^0-9A-Za-z]/g, '\\$&');
  return (
    [...whole.matchAll(new RegExp(`\n--${escaped}(?:(?<=\r\n--${escaped})|(?=(?:--)?[ \t]*\r?\n))`, 'g'))].length > 1
  );
};

const BOUNDARY_CHARACTERS = [..."0aZ'()+_,-./:=?"];
const boundaries = fc.oneof(
  fc.string({ unit: fc.constantFrom(...BOUNDARY_CHARACTERS), minLength: 1, maxLength: 70 }),
  fc.constantFrom('-', '--', 'a b', '----WebKitFormBoundary7MA4YWxkTrZu0gW'),
);
const body = boundaries.chain((boundary) => {
  const pieces = [
    '\r',
    '\n',
    '-',
    '--',
    '\r\n',
    '\r\n--',
    `--${boundary}`,
    `\n--${boundary}`,
    `\r\n--${boundary.slice(0, -1)}`,
  ];
  const bytes = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...pieces, ' ', '\t', 'x', '\0', ': ', ...boundary) },
    { weight: 1, arbitrary: fc.string({ unit: fc.constantFrom('\r', '\n', '-', 'é', 'a'), maxLength: 100 }) },
  );
  const content = fc.array(bytes, { maxLength: 20 }).map((some) => some.join(''));
  const name = fc.constantFrom('a', 'b', '__proto__', 'a;b', "it's");
  const file = fc.record({
    name,
    filename: fc.constantFrom('a.jpg', "b'*=;.jpg"),
    content: content.map((rest) => JPEG + rest),
  });
  // Text that is its own UTF-8.
  const field = fc.record({ name, content: content.map((text) => text.replaceAll('é', 'e')) });
  const parts = fc.array(fc.oneof(file, field), { maxLength: 6 });
  const padding = fc.constantFrom('', '', ' ', ' \t ');
  const around = fc.constantFrom('', '\r\n', 'A preamble.\r\n\r\n');
  return fc
    .record({ parts, padding, around, boundary: fc.constant(boundary) })
    .filter(({ parts }) => parts.every(({ content }) => !delimits(content, boundary)));
});
const cuts = fc.array(fc.nat(), { maxLength: 12 });
const eachByte = Array.from({ length: 10_000 }, (_, i) => i);

it('receives exactly the parts of any valid body, however it is cut', async () => {
  await fc.assert(
    fc.asyncProperty(body, cuts, fc.boolean(), async ({ parts, padding, around, boundary }, some, everywhere) => {
      const pieces = parts.map((part) => `--${boundary}${padding}\r\n${line(part)}\r\n\r\n${part.content}\r\n`);
      const whole = `${around}${pieces.join('')}--${boundary}--${padding}${around === '' ? '' : `\r\n${around}`}`;
      expect(await received(whole, boundary, everywhere ? eachByte : some)).toEqual(fieldsFirst(parts));
    }),
    { numRuns: RUNS },
  );
}, 120_000);

const BOUNDARY = 'the-boundary';
const PARTS: readonly Item[] = [
  { name: 'file', filename: 'a.jpg', content: `${JPEG}first` },
  { name: 'file', filename: 'b.jpg', content: `${JPEG}second\r\n` },
  { name: 'a', content: 'one' },
];
const PIECES = PARTS.map(
  (part) => [`--${BOUNDARY}\r\n${line(part)}\r\nContent-Type: image/jpeg\r\n\r\n`, part.content, '\r\n'] as const,
);
const WHOLE = `${PIECES.flat().join('')}--${BOUNDARY}--\r\n`;

/** The length of what was received, without the names. */
const contentBytes = (parts: readonly Item[]) => parts.reduce((sum, { content }) => sum + content.length, 0);
const contents = (parts: readonly Item[]) => parts.map(({ content }) => content);

it('refuses a body with one wrong byte in its structure, or receives every part whole', async () => {
  const structure = [...WHOLE]
    .map((_, at) => at)
    .filter((at) => {
      let offset = 0;
      for (const [head, content, end] of PIECES) {
        const from = offset + head.length;
        if (at >= from && at < from + content.length) return false;
        offset = from + content.length + end.length;
      }
      return true;
    });
  // The delimiters between parts. A line that differs in one byte is no delimiter, but content like any other.
  const inner = PIECES.slice(0, -1).map(
    (_, i) =>
      PIECES.slice(0, i + 1)
        .flat()
        .join('').length - 2,
  );
  const counts = { refused: 0, same: 0, joined: 0 };
  for (const at of structure) {
    for (const byte of [
      '\r',
      '\n',
      '\0',
      ' ',
      '\t',
      '-',
      ':',
      ';',
      '"',
      '=',
      '*',
      '\\',
      'X',
      'a',
      '\xff',
      String.fromCharCode(WHOLE.charCodeAt(at) ^ 0x20),
    ]) {
      if (WHOLE[at] === byte) continue;
      const changed = WHOLE.slice(0, at) + byte + WHOLE.slice(at + 1);
      const found = await received(changed, BOUNDARY, [at % 7, at, at + 1]);
      if (typeof found === 'string') counts.refused++;
      else if (found.length === PARTS.length) {
        counts.same++;
        expect([at, byte, contents(found)]).toEqual([at, byte, contents(fieldsFirst(PARTS))]);
      } else {
        counts.joined++;
        const between = inner.find((start) => at >= start && at < start + BOUNDARY.length + 4) ?? Number.NaN;
        const joined = WHOLE.slice(between).indexOf('\r\n\r\n') + 4;
        expect([at, byte, contentBytes(found)]).toEqual([at, byte, contentBytes(PARTS) + joined]);
      }
    }
  }
  console.log(`one wrong byte: ${JSON.stringify(counts)}`);
  expect(counts.refused).toBeGreaterThan(counts.same);
}, 120_000);

it('refuses a body with one byte less or one more in its structure, or receives every part whole', async () => {
  const deltas = fc.tuple(
    fc.nat(WHOLE.length - 1),
    fc.constantFrom('', '\r', '\n', '-', ' ', 'X', '\r\n', BOUNDARY, `--${BOUNDARY}`),
  );
  await fc.assert(
    fc.asyncProperty(deltas, cuts, async ([at, inserted], some) => {
      const changed = WHOLE.slice(0, at) + inserted + WHOLE.slice(inserted === '' ? at + 1 : at);
      const found = await received(changed, BOUNDARY, some);
      if (typeof found === 'string') return;
      // What was received is in the body, and nothing between the parts of it is content.
      expect(contentBytes(found)).toBeGreaterThanOrEqual(contentBytes(PARTS) - 1);
      expect(found.length === PARTS.length || contentBytes(found) > contentBytes(PARTS) + 20).toBe(true);
    }),
    { numRuns: RUNS },
  );
}, 120_000);

/** What remains of bytes when they are read as UTF-8. */
const asText = (latin1: string) => Buffer.from(Buffer.from(latin1, 'latin1').toString()).toString('latin1');

it('receives from a damaged body what a plain reader of whole bodies finds in it, or refuses it as that one does', async () => {
  const damage = fc.record({
    at: fc.nat(),
    removed: fc.integer({ min: 0, max: 30 }),
    inserted: fc.constantFrom('', '\r', '\n', '\r\n', '-', ' ', ':', ';', '"', 'X', '\0', 'BOUNDARY', '\r\n--BOUNDARY'),
  });
  const damages = fc.array(damage, { minLength: 1, maxLength: 3 });
  const counts = { received: 0, refused: 0 };
  await fc.assert(
    fc.asyncProperty(body, damages, cuts, fc.boolean(), async ({ parts, boundary }, several, some, everywhere) => {
      const pieces = parts.map((part) => `--${boundary}\r\n${line(part)}\r\n\r\n${part.content}\r\n`);
      let damaged = `${pieces.join('')}--${boundary}--\r\n`;
      for (const { at, removed, inserted } of several) {
        const from = at % damaged.length;
        const text = inserted.replace('BOUNDARY', boundary);
        damaged = damaged.slice(0, from) + text + damaged.slice(from + removed);
      }
      const expected = referenceParts(damaged, boundary);
      const found = await received(damaged, boundary, everywhere ? eachByte : some);
      if (typeof found === 'string') {
        counts.refused++;
        // Files that are empty, of another type or too many are refused for what they are.
        const isForFiles = expected?.some(
          ({ filename, content }) => filename !== undefined && !content.startsWith(JPEG),
        );
        expect([expected === undefined || isForFiles === true, found]).toEqual([true, found]);
      } else {
        counts.received++;
        const wanted = (expected ?? [])
          .filter(({ filename, content }) => filename === undefined || content !== '')
          .map((part) => (part.filename === undefined ? { ...part, content: asText(part.content) } : part));
        expect(contents(found)).toEqual(contents(fieldsFirst(wanted)));
      }
    }),
    { numRuns: RUNS },
  );
  console.log(`damaged bodies: ${JSON.stringify(counts)}`);
  expect(Math.min(counts.received, counts.refused)).toBeGreaterThan(RUNS / 20);
}, 120_000);
