/** A file as its text. The build puts it into the bundle. */
declare module '*?raw' {
  const text: string;
  // biome-ignore lint/style/noDefaultExport: an import of a text has no other name.
  export default text;
}
