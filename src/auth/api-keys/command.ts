#!/usr/bin/env node
import { KEYGEN_HELP, keygen } from './keygen.js';

const [command, ...args] = process.argv.slice(2);

if (command === 'keygen') {
  const { exitCode, stdout, stderr } = keygen(args, process.env);
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  process.exitCode = exitCode;
} else if (command === '--help' || command === 'help') {
  process.stdout.write(KEYGEN_HELP);
} else {
  process.stderr.write(`gatewarden: ${command === undefined ? 'no command given' : `unknown command ${command}`}\n\n`);
  process.stderr.write(KEYGEN_HELP);
  process.exitCode = 2;
}
