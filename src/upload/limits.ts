import { supportedMimeTypes } from 'file-type';
import { badOption, boolean, checkOptionNames, type OptionNames, positiveInteger } from '../core/option.js';
import { bytes, type Size } from '../core/size.js';
import { isImageType } from './image-header.js';

/** Which files an upload accepts. */
export interface FileOptions {
  /**
   * The accepted media types, such as `image/png`. The type of a file is detected from its content, with file-type, so
   * text formats such as CSV and SVG cannot be listed.
   */
  readonly types: readonly string[];
  /** The largest size of each file. */
  readonly maxBytes: Size;
  /** The largest number of files, at most 1000. Default 1. */
  readonly maxCount?: number | undefined;
  /** The smallest number of files. Default 1; 0 makes files optional. */
  readonly minCount?: number | undefined;
  /** The names of the form fields that accept files. Default: every field. */
  readonly fields?: readonly string[] | undefined;
  /** The largest number of pixels of an image: width x height x pages. Default 40,000,000. */
  readonly maxPixels?: number | undefined;
  /** Whether images with several frames or pages are accepted. Default false. */
  readonly animated?: boolean | undefined;
}

/** Which text fields an upload accepts beside its files. */
export interface FieldOptions {
  /** The largest number of text fields, from 0 to 1000. Default 20. */
  readonly maxCount?: number | undefined;
  /** The largest size of each value. Default `'64kb'`. */
  readonly maxBytes?: Size | undefined;
}

const FILE_OPTIONS: OptionNames<FileOptions> = {
  types: true,
  maxBytes: true,
  maxCount: true,
  minCount: true,
  fields: true,
  maxPixels: true,
  animated: true,
};
const FIELD_OPTIONS: OptionNames<FieldOptions> = { maxCount: true, maxBytes: true };

/** The limits of `upload`, checked and in bytes. */
export interface Limits {
  readonly types: readonly string[];
  readonly fileBytes: number;
  readonly maxFiles: number;
  readonly minFiles: number;
  readonly fileFields: ReadonlySet<string> | undefined;
  readonly maxPixels: number;
  readonly animated: boolean;
  readonly maxFields: number;
  readonly fieldBytes: number;
  /** The whole body, with part headers and boundaries. */
  readonly bodyBytes: number;
}

/** An animated PNG is detected as `image/png`, and accepted if `animated` is set. */
const isDetectable = (type: string) => supportedMimeTypes.has(type) && type !== 'image/apng';

/** For the headers and the boundary of each part. */
const PART_BYTES = 4096;
const LARGEST_FILE = 2 ** 40;

/** @throws OptionError */
export function uploadLimits(files: FileOptions, fields: FieldOptions = {}): Limits {
  checkOptionNames('upload "files"', files, FILE_OPTIONS);
  checkOptionNames('upload "fields"', fields, FIELD_OPTIONS);
  const { types } = files;
  if (!Array.isArray(types) || types.length === 0) {
    throw badOption('upload', 'files.types', "must be a non-empty list of media types such as 'image/png'", types);
  }
  for (const type of types) {
    if (!isDetectable(type)) {
      const rule = "must contain only media types that can be detected from content, such as 'image/jpeg'";
      throw badOption('upload', 'files.types', rule, type);
    }
  }
  const animated = boolean('upload', 'files.animated', files.animated ?? false);
  const fileBytes = bytes('upload', 'files.maxBytes', files.maxBytes, LARGEST_FILE);
  const maxFiles = positiveInteger('upload', 'files.maxCount', files.maxCount ?? 1, 1000);
  const minFiles = zeroOrMore('files.minCount', files.minCount ?? 1, maxFiles);
  const maxFields = zeroOrMore('fields.maxCount', fields.maxCount ?? 20, 1000);
  const fieldBytes = bytes('upload', 'fields.maxBytes', fields.maxBytes ?? '64kb', 2 ** 30);
  if (files.fields !== undefined && (!Array.isArray(files.fields) || files.fields.length === 0)) {
    throw badOption('upload', 'files.fields', 'must be a non-empty list of field names', files.fields);
  }
  return {
    types: [...types],
    fileBytes,
    maxFiles,
    minFiles,
    fileFields: files.fields === undefined ? undefined : new Set(files.fields),
    maxPixels: positiveInteger('upload', 'files.maxPixels', files.maxPixels ?? 40_000_000),
    animated: animated || !types.some(isImageType),
    maxFields,
    fieldBytes,
    bodyBytes: maxFiles * (fileBytes + PART_BYTES) + maxFields * (fieldBytes + PART_BYTES) + PART_BYTES,
  };
}

function zeroOrMore(option: string, value: number, max: number): number {
  return value === 0 ? 0 : positiveInteger('upload', option, value, max);
}
