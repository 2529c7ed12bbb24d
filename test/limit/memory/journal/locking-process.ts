// A process that takes the lock of a directory, one step at a time: it names each call to the file system on its standard
// output, and makes it when it has read a byte.
import { readSync, writeSync } from 'node:fs';
import { JournalLock } from '../../../../src/limit/memory/journal/journal-lock.js';
import { nodeModules } from '../../../../src/limit/memory/journal/node-modules.js';

const one = Buffer.alloc(1);

function nextByte(): string {
  if (readSync(0, one, 0, 1, null) === 0) process.exit();
  return one.toString('latin1');
}

function nextLine(): string {
  let line = '';
  for (let byte = nextByte(); byte !== '\n'; byte = nextByte()) line += byte;
  return line;
}

const modules = nodeModules();
// A lock is written in the moment in which it is made. What the system says of processes is not a step.
const isStep = (name: string, path: unknown) => name !== 'writeSync' && !String(path).startsWith('/proc');
const stepped = new Proxy(modules.fs, {
  get(fs, name) {
    const call: unknown = Reflect.get(fs, name);
    if (typeof call !== 'function') return call;
    return (...args: unknown[]) => {
      if (isStep(String(name), args[0])) {
        writeSync(1, `${String(name)}\n`);
        nextByte();
      }
      return Reflect.apply(call, fs, args);
    };
  },
});

let lock: JournalLock | undefined;
for (;;) {
  const directory = nextLine();
  lock?.release();
  lock = undefined;
  if (directory === '') {
    writeSync(1, 'free\n');
    continue;
  }
  try {
    lock = new JournalLock({ ...modules, fs: stepped }, directory);
    writeSync(1, 'held\n');
  } catch (error) {
    if (!String(error).includes('in use by')) writeSync(2, `${String(error)}\n`);
    writeSync(1, 'refused\n');
  }
}
