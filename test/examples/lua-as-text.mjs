/** Lets Node import a Lua script, and any file with `?raw` behind its name, as its text, as the build does. */
import { register } from 'node:module';

const HOOKS = `
import { readFile } from 'node:fs/promises';
export async function load(url, context, next) {
  if (!/\\.lua$|[?&]raw\\b/.test(url)) return next(url, context);
  const text = await readFile(new URL(url.split('?')[0]), 'utf8');
  return { format: 'module', shortCircuit: true, source: 'export default ' + JSON.stringify(text) };
}`;
register(`data:text/javascript,${encodeURIComponent(HOOKS)}`);
