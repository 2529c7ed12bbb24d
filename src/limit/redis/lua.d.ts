/** A Lua file is imported as its text. tsup.config.ts and vitest.config.ts see to that. */
declare module '*.lua' {
  const text: string;
  // biome-ignore lint/style/noDefaultExport: bundlers give a text file's content as the default export.
  export default text;
}
