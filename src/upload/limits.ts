import { supportedMimeTypes } from 'file-type';
import { badOption, checkOptionNames, positiveInteger } from '../core/option.js';
import { bytes, type Size } from '../core/size.js';
import { isImageType } from './image-header.js';

/** Which files are taken. */
export interface FileOptions {
  /** Media types by content, such as `image/png`: those that file-type knows, which text such as CSV or SVG is not of. */
  readonly types: readonly string[];
  /** Of each file. */
  readonly maxBytes: Size;
  /** Default 1. */
  readonly maxCount?: number;
  /** Default 1. */
  readonly minCount?: number;
  /** Names of the fields in which files may come. Default any. */
  readonly fields?: readonly string[];
  /** Width x height x pages of an image. Default 40,000,000. */
  readonly maxPixels?: number;
  /** Whether images may have several frames or pages. Default false. */
  readonly animated?: boolean;
}

/** Which text fields are taken beside the files. */
export interface FieldOptions {
  /** Default 20. */
  readonly maxCount?: number;
  /** Of each field's value. Default `64kb`. */
  readonly maxBytes?: Size;
}

/** Where files are while the request lasts. */
export interface SpoolOptions {
  /** Up to this size a file stays in memory. Default `1mb`. */
  readonly memoryBytes?: Size;
  /** Where larger ones go: a folder that is there. Default the system's folder for temporary files. */
  readonly directory?: string;
}

/** All limits, checked. */
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
  /** Of the whole body, what stands between the parts included. */
  readonly bodyBytes: number;
}

/** An animated PNG is an `image/png` here, with `animated`. */
const isKnownByContent = (type: string) => supportedMimeTypes.has(type) && type !== 'image/apng';

/** Headers of a part, and what parts them. */
const PART_BYTES = 4096;
const MAX_FILE = 2 ** 40;

/** @throws OptionError */
export function uploadLimits(files: FileOptions, fields: FieldOptions = {}): Limits {
  const factory = 'upload';
  checkOptionNames(`${factory} "files"`, files, [
    'types',
    'maxBytes',
    'maxCount',
    'minCount',
    'fields',
    'maxPixels',
    'animated',
  ]);
  checkOptionNames(`${factory} "fields"`, fields, ['maxCount', 'maxBytes']);
  const { types, animated = false } = files;
  if (!Array.isArray(types) || types.length === 0) {
    throw badOption(factory, 'files.types', "must be a list of media types such as 'image/png'", types);
  }
  for (const type of types) {
    if (!isKnownByContent(type)) {
      throw badOption(
        factory,
        'files.types',
        "must hold media types that content can be known by, such as 'image/jpeg'",
        type,
      );
    }
  }
  if (typeof animated !== 'boolean') throw badOption(factory, 'files.animated', 'must be true or false', animated);
  const fileBytes = bytes(factory, 'files.maxBytes', files.maxBytes, MAX_FILE);
  const maxFiles = positiveInteger(factory, 'files.maxCount', files.maxCount ?? 1, 1000);
  const minFiles = files.minCount === 0 ? 0 : positiveInteger(factory, 'files.minCount', files.minCount ?? 1, maxFiles);
  const maxFields =
    fields.maxCount === 0 ? 0 : positiveInteger(factory, 'fields.maxCount', fields.maxCount ?? 20, 1000);
  const fieldBytes = bytes(factory, 'fields.maxBytes', fields.maxBytes ?? '64kb', 2 ** 30);
  if (files.fields !== undefined && (!Array.isArray(files.fields) || files.fields.length === 0)) {
    throw badOption(factory, 'files.fields', 'must be a list of names', files.fields);
  }
  return {
    types: [...types],
    fileBytes,
    maxFiles,
    minFiles,
    fileFields: files.fields === undefined ? undefined : new Set(files.fields),
    maxPixels: positiveInteger(factory, 'files.maxPixels', files.maxPixels ?? 40_000_000),
    animated: animated || !types.some(isImageType),
    maxFields,
    fieldBytes,
    bodyBytes: maxFiles * (fileBytes + PART_BYTES) + maxFields * (fieldBytes + PART_BYTES) + PART_BYTES,
  };
}
