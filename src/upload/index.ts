export type { FieldOptions, FileOptions, StoreOptions } from './limits.js';
export { type UploadOptions, upload } from './upload.js';
