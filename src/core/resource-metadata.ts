/** Where a client finds out how it gets a token (RFC 9728). */
export interface ResourceMetadata {
  /** The URL of the metadata. */
  readonly url: string;
  readonly scopes: readonly string[];
}
