export type { DecodeOptions, SharpFunction } from './decode.js';
export type { ImageHeader } from './formats/format.js';
export type { ImageType } from './image-header.js';
export {
  type ImageInspection,
  type ImageInspector,
  type InspectImageOptions,
  imageInspector,
} from './inspect-image.js';
export type { FieldOptions, FileOptions, SpoolOptions } from './limits.js';
export type { OnFile, ProvisionalFile } from './provisional.js';
export { type UploadOptions, upload } from './upload.js';
export { UploadError } from './upload-error.js';
