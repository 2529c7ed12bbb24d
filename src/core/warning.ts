/** Emits a process warning, which is printed to standard error. Workers have no process warnings: there, it is printed as text. */
export function warn(message: string, options: { readonly code: string }): void {
  if (typeof process.emitWarning === 'function') process.emitWarning(message, options);
  else console.warn(`[${options.code}] Warning: ${message}`);
}
