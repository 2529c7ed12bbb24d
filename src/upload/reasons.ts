/**
 * Every `reason` that an `upload-malformed` or `upload-undecodable` problem can carry. Clients may compare these texts,
 * so changing one is a breaking change. Each is a clause without a full stop: services put it into sentences of their
 * own.
 */
export const UPLOAD_REASONS = {
  'upload-malformed': {
    notMultipart: 'the Content-Type is not multipart/form-data',
    malformedContentType: 'the Content-Type is malformed',
    noBoundary: 'the Content-Type has no multipart boundary',
    severalBoundaries: 'the Content-Type has more than one multipart boundary',
    invalidBoundary: 'the multipart boundary is too long or contains a character that is not allowed',
    incomplete: 'the body ended before the closing multipart boundary',
    unnamedPart: 'a part has no name',
    nameTooLong: 'a field name or file name is too long',
    unexpectedFile: 'a file was sent in a field that does not accept files',
    emptyFile: 'a file is empty',
    noFile: 'the upload contains no file',
    tooFewFiles: 'the upload contains too few files',
    tooManyFiles: 'the upload contains too many files',
    noImage: 'the image is missing, or is neither base64 text nor binary data',
    notBase64: 'the image is not valid base64',
  },
  'upload-undecodable': {
    corrupt: 'the image data is corrupt or incomplete',
    decodeTimeout: 'decoding took too long',
    ambiguous: 'the file can be read as more than one format',
    wrongSignature: 'the file does not start with the signature of its image type',
    headerIncomplete: 'the file ends before its image header is complete',
    zeroSize: 'the image has a width, height or page count of zero',
    gifExtensions: 'the GIF has too many extensions',
    gifBlocks: 'the GIF has too many blocks',
    jpegMarker: 'the JPEG has no marker where one is required',
    jpegSegmentLength: 'the JPEG has a segment with an invalid length',
    jpegFrame: 'the JPEG has no frame header',
    jpegSegments: 'the JPEG has too many segments',
    pngHeader: 'the PNG has no valid IHDR chunk',
    pngData: 'the PNG has no IDAT chunk, or too many chunks before it',
    tiffLoop: 'the TIFF has a page list that loops',
    tiffEntries: 'the TIFF has too many directory entries',
    tiffFieldType: 'the TIFF stores its width or height as an unsupported field type',
    webpKeyFrame: 'the WebP has no key frame',
    webpSignature: 'the WebP has no VP8L signature',
    webpImage: 'the WebP has no image chunk',
    webpChunks: 'the WebP has too many chunks',
  },
} as const;

export type MalformedReason = keyof (typeof UPLOAD_REASONS)['upload-malformed'];
export type UndecodableReason = keyof (typeof UPLOAD_REASONS)['upload-undecodable'];
