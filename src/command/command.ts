#!/usr/bin/env node
import { KEYGEN_HELP, keygen } from '../auth/api-keys/keygen.js';
import { CHECK_WORKER_HELP, checkWorkerCommand } from '../worker/check/command.js';

const HELP = `Usage: gatewarden COMMAND

  keygen        generates an API key
  check-worker  checks a worker against the worker contract

gatewarden COMMAND --help explains a command.
`;

const [command, ...args] = process.argv.slice(2);

switch (command) {
  case 'keygen': {
    const { exitCode, stdout, stderr } = keygen(args, process.env);
    process.stdout.write(stdout);
    process.stderr.write(stderr);
    process.exitCode = exitCode;
    break;
  }
  case 'check-worker':
    checkWorkerCommand(args, { out: print(process.stdout), error: print(process.stderr) }).then((exitCode) => {
      process.exitCode = exitCode;
    });
    break;
  case '--help':
  case 'help':
    process.stdout.write(`${HELP}\n${KEYGEN_HELP}\n${CHECK_WORKER_HELP}`);
    break;
  default:
    process.stderr.write(
      `gatewarden: ${command === undefined ? 'no command given' : `unknown command ${command}`}\n\n${HELP}`,
    );
    process.exitCode = 2;
}

function print(stream: NodeJS.WriteStream): (text: string) => void {
  return (text) => {
    stream.write(text);
  };
}
