#!/usr/bin/env node
import { KEYGEN_HELP, keygen } from './keygen.js';

const [name, ...args] = process.argv.slice(2);

if (name === 'keygen') {
  const { exitCode, stdout, stderr } = keygen(args, process.env);
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  process.exitCode = exitCode;
} else if (name === '--help' || name === 'help') {
  process.stdout.write(KEYGEN_HELP);
} else {
  process.stderr.write(`gatewarden: ${name === undefined ? 'a command is missing' : `no command ${name}`}\n\n`);
  process.stderr.write(KEYGEN_HELP);
  process.exitCode = 2;
}
