import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { OptionError } from '../../src/core/option.js';
import { type ImageInspectorOptions, imageInspector, type UploadOptions, upload } from '../../src/upload/index.js';
import { sharpWith } from './sharp-stand-in.js';

describe('options', () => {
  const files = { types: ['image/png'], maxBytes: '1mb' } as const;
  it.each<[string, object, string]>([
    ['no files', {}, 'files'],
    ['no types', { files: { maxBytes: 1 } }, 'types'],
    ['a value that is not a media type', { files: { ...files, types: ['png'] } }, 'types'],
    ['a misspelt type', { files: { ...files, types: ['image/png', 'image/jpg'] } }, "'image/jpg'"],
    ['a type that cannot be detected from content', { files: { ...files, types: ['text/csv'] } }, "'text/csv'"],
    ['APNG, which is detected as PNG', { files: { ...files, types: ['image/apng'] } }, "'image/apng'"],
    ['no size', { files: { types: ['image/png'] } }, 'maxBytes'],
    ['a value that is not a size', { files: { ...files, maxBytes: 'large' } }, 'maxBytes'],
    ['a largest number of 0', { files: { ...files, maxCount: 0 } }, 'maxCount'],
    ['minCount above maxCount', { files: { ...files, minCount: 2 } }, 'minCount'],
    ['a pixel limit of 0', { files: { ...files, maxPixels: 0 } }, 'maxPixels'],
    ['an empty list of fields', { files: { ...files, fields: [] } }, 'fields'],
    ['a misspelt limit', { files: { ...files, maxSize: 5 } }, 'maxSize'],
    ['a misspelt limit of fields', { files, fields: { max: 5 } }, 'max'],
    ['a directory that is not a path', { files, spool: { directory: 5 } }, 'spool.directory'],
    ['an empty directory path', { files, spool: { directory: '', memoryBytes: '2mb' } }, 'spool.directory'],
    [
      'a missing directory, for re-encoded files',
      { files, spool: { directory: '/not/there', memoryBytes: '1mb' }, decode: { sharp, reencode: true } },
      '/not/there',
    ],
    ['a missing directory', { files, spool: { directory: '/not/there', memoryBytes: 10 } }, '/not/there'],
    [
      'a directory that is a file',
      { files, spool: { directory: import.meta.filename, memoryBytes: 10 } },
      'spool.directory',
    ],
    ['a memory limit of 0', { files, spool: { memoryBytes: 0 } }, 'memoryBytes'],
    ['sharp that is not a function', { files, decode: { sharp: true } }, 'decode.sharp'],
    ['decode without sharp', { files, decode: true }, 'decode'],
    [
      'blockOtherLoaders that is not a boolean',
      { files, decode: { sharp, blockOtherLoaders: 1 } },
      'blockOtherLoaders',
    ],
    [
      'blockOtherLoaders with a sharp that cannot block',
      { files, decode: { sharp: sharpWith(() => Promise.resolve()), blockOtherLoaders: true } },
      'blockOtherLoaders',
    ],
    ['a timeout of more than 5 minutes', { files, decode: { sharp, timeout: '6m' } }, 'decode.timeout'],
    ['a concurrency of more than 64', { files, decode: { sharp, concurrency: 65 } }, 'decode.concurrency'],
    ['reencode that is not a boolean', { files, decode: { sharp, reencode: 1 } }, 'reencode'],
    ['a misspelt option', { files, limits: {} }, 'limits'],
  ])('upload refuses %s', (_what, options, named) => {
    const act = () => upload(options as UploadOptions);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(named);
  });

  it('upload does not check the directory if no file can reach it', () => {
    expect(() => upload({ files, spool: { directory: '/not/there', memoryBytes: '1mb' } })).not.toThrow();
  });

  it.each<[string, object, string]>([
    ['no types', { maxBytes: 1 }, 'types'],
    ['a type whose header it cannot read', { types: ['image/avif'], maxBytes: 1 }, 'types'],
    ['no size', { types: ['image/png'] }, 'maxBytes'],
    ['a misspelt option', { ...files, pixels: 5 }, 'pixels'],
  ])('imageInspector refuses %s', (_what, options, named) => {
    const act = () => imageInspector(options as ImageInspectorOptions);
    expect(act).toThrow(OptionError);
    expect(act).toThrow(named);
  });
});
