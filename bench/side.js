// One side of one row, in a process of its own. The runner sends `open`, a round's number at a time, and `close`.
import { pathToFileURL } from 'node:url';

const [file, rowName, sideName] = process.argv.slice(2);
const { rows } = await import(pathToFileURL(file).href);
const side = rows.find(({ name }) => name === rowName).sides.find(({ name }) => name === sideName);
let state;

const acts = {
  open: async ({ context }) => {
    state = side.open === undefined ? context : await side.open(context);
  },
  run: async ({ round }) => {
    globalThis.gc();
    return await side.run(round, state);
  },
  close: async () => {
    await side.close?.(state);
  },
};

process.on('message', async (message) => {
  try {
    const answer = await acts[message.act](message);
    process.send({ answer });
  } catch (error) {
    process.send({ failure: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
});
// The runner has gone. `exit` gives servers that this side started the chance to be stopped.
process.on('disconnect', () => process.exit());
process.send({ ready: true });
