import type { ImageFormat } from './formats/format.js';

export interface SharpImage {
  timeout(options: { readonly seconds: number }): SharpImage;
  rotate(): SharpImage;
  toFormat(format: ImageFormat['name']): SharpImage;
  metadata(): Promise<{
    readonly format?: string | undefined;
    readonly width?: number | undefined;
    readonly height?: number | undefined;
    readonly pageHeight?: number | undefined;
  }>;
  resize(options: { readonly width: number; readonly height: number; readonly fit: 'fill' }): SharpImage;
  raw(): SharpImage;
  toBuffer(): Promise<Buffer>;
}

/** The part of sharp's default export that `decode` uses. */
export interface SharpFunction {
  (
    input: string | Buffer,
    options: {
      readonly limitInputPixels: number;
      readonly failOn: 'error';
      readonly pages: number;
      readonly sequentialRead: boolean;
    },
  ): SharpImage;
  block?(options: { readonly operation: string[] }): void;
  unblock?(options: { readonly operation: string[] }): void;
}
