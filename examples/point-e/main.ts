import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { textLogger } from '../text-logger.js';
import { createGateway } from './gateway.js';
import { ModelFiles } from './model-files.js';
import { describe, readSettings, SettingsError } from './settings.js';

const STAND_IN = fileURLToPath(new URL('../workers/point-e-stand-in.ts', import.meta.url));

let stopping = false;

/** Starts the CPU stand-in as a child process. It exits when this process does, and receives no secret. */
async function startStandIn(): Promise<string> {
  const { PATH, HOME, TMPDIR } = process.env;
  const child = fork(STAND_IN, { env: { PATH, HOME, TMPDIR, PORT: '0' } });
  child.once('exit', (code) => {
    if (stopping) return;
    console.error(`The stand-in worker has stopped with exit code ${code}. Start the gateway again.`);
    process.exit(1);
  });
  const [message] = await once(child, 'message');
  return (message as { url: string }).url;
}

function printHelp(origin: string, secret: string | undefined): void {
  const authorization = '-H "Authorization: Bearer $POINT_E_SECRET_KEY"';
  const generate = [
    `curl -s ${origin}/generate/text ${authorization}`,
    '-H "X-Forwarded-For: 123.45.67.89" -H "Content-Type: application/json"',
    `-d '{"prompt": "a red sports car", "user_id": "user123", "grid_size": 32}'`,
  ].join(' ');
  const url = `node -p 'JSON.parse(require("fs").readFileSync(0, "utf8")).download_url'`;
  console.log('\nTry it, in another terminal:\n');
  console.log(
    secret === undefined ? '  # with POINT_E_SECRET_KEY set as it is here' : `  export POINT_E_SECRET_KEY=${secret}`,
  );
  console.log(`  ${generate}`);
  console.log(`  curl -s ${authorization} -o model.ply "$(${generate} | ${url})"`);
  console.log(`  curl -s ${origin}/usage/123.45.67.89 ${authorization}`);
  console.log(`  curl -s ${origin}/health\n`);
}

async function main(): Promise<void> {
  const settings = readSettings(process.env);
  const workerUrl = settings.workerUrl ?? (await startStandIn());
  const files = await ModelFiles.create();
  const logger = textLogger((line) => process.stdout.write(line));
  const server = createServer(createGateway(settings, workerUrl, files, logger));
  server.listen(settings.port, settings.host);
  await once(server, 'listening');

  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : settings.port;
  const host = settings.host.includes(':') ? `[${settings.host}]` : settings.host;
  const origin = `http://${host === '0.0.0.0' || host === '[::]' ? '127.0.0.1' : host}:${port}`;
  console.log('Security settings:');
  for (const line of describe(settings)) console.log(`  ${line}`);
  printHelp(origin, settings.secretIsGenerated ? settings.secrets[0] : undefined);
  console.log(`Point-E gateway listening on ${origin}`);

  const stop = async () => {
    stopping = true;
    server.close();
    server.closeAllConnections();
    await files.close();
    process.exit(0);
  };
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void stop());
}

main().catch((error: unknown) => {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'EADDRINUSE' || code === 'EADDRNOTAVAIL')
    console.error(`Cannot listen on this address (${code}). Set HOST or PORT to another value.`);
  else if (error instanceof SettingsError) console.error(`Bad settings:\n${error.message.replace(/^/gm, '  ')}`);
  else console.error(error);
  process.exit(1);
});
