/**
 * Multipart uploads and images, checked while they arrive.
 * @module gatewarden/upload
 */
export { uploadOf } from '../core/uploaded-file.js';
export type { DecodeOptions } from './decode.js';
export type { ImageHeader } from './formats/format.js';
export type { ImageType } from './image-header.js';
export {
  type ImageInspection,
  type ImageInspector,
  type ImageInspectorOptions,
  imageInspector,
} from './image-inspector.js';
export type { IncomingFile, OnFile } from './incoming-file.js';
export type { FieldOptions, FileOptions } from './limits.js';
export type { SharpFunction } from './sharp-function.js';
export type { SpoolOptions } from './spool.js';
export { type UploadOptions, upload } from './upload.js';
export { UploadError } from './upload-error.js';
